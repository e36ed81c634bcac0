"""Inputs that are hard to read, and how long reading them may take."""

from collections.abc import Callable
from contextlib import suppress
from time import thread_time

MEGABYTE = 1_000_000
MARKS = "\u0300\u0316" * (MEGABYTE // 4)
"""A megabyte of UTF-8 that Unicode's normal forms put into another order."""
MOST_SECONDS = 0.05


def assert_quick(work: Callable[[], object]) -> None:
    """Assert that the work takes at most MOST_SECONDS of this thread, whatever else runs."""
    assert min(seconds(work) for _ in range(3)) < MOST_SECONDS


def seconds(work: Callable[[], object]) -> float:
    """Return the seconds of this thread that the work takes, even if it raises."""
    started = thread_time()
    with suppress(Exception):
        work()
    return thread_time() - started


def repeated(part: str | bytes, size: int = MEGABYTE) -> str:
    """Return a text of this size, made of the part."""
    text = part if isinstance(part, str) else part.decode()
    return (text * (size // len(text) + 1))[:size]
