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
    best = seconds(work)
    for _ in range(4):
        if best < MOST_SECONDS:
            return
        best = min(best, seconds(work))
    assert best < MOST_SECONDS


def assert_linear(work: Callable[[int], Callable[[], object]]) -> None:
    """Assert that `work(4 * size)()` takes no more than some four times as long as `work(size)()`.

    The larger is a megabyte. Of work whose time grows with the square it is sixteen times.
    """
    small, large = work(MEGABYTE // 4), work(MEGABYTE)
    for _ in range(4):
        taken = seconds(large)
        if taken < max(MOST_SECONDS, 8 * seconds(small)):
            return
    raise AssertionError("it takes more time than in proportion to the size")


def seconds(work: Callable[[], object]) -> float:
    """Return the seconds of this thread that the work takes, even if it raises."""
    started = thread_time()
    with suppress(Exception):
        work()
    return thread_time() - started


def repeated(part: str, size: int = MEGABYTE) -> str:
    """Return a text of so many bytes in UTF-8, made of the part."""
    return part * (size // len(part.encode(errors="surrogatepass")))
