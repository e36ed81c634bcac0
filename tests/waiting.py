"""Waiting for what must become true, with an end to it."""

import asyncio
import time
from collections.abc import Awaitable, Callable

TIMEOUT = 20.0
"""Seconds for what takes one or two on a machine at rest."""


def until(condition: Callable[[], object], *, within: float = TIMEOUT, every: float = 0.02) -> None:
    """Return when it is true; fail if that is not within so many seconds."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"not within {within} s"
        time.sleep(every)


async def eventually_equals(ask: Callable[[], Awaitable[object]], value: object) -> None:
    """Return when what is asked for is this; fail if it is not within a while."""
    async with asyncio.timeout(TIMEOUT):
        while await ask() != value:  # noqa: ASYNC110 - a server is asked
            await asyncio.sleep(0.02)


async def eventually(condition: Callable[[], object], *, within: float = TIMEOUT) -> None:
    """The same, while the event loop goes on."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - anything can be the condition
            await asyncio.sleep(0.005)
