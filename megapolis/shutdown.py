"""The first of the three steps in which a worker stops after SIGTERM.

1. It is not ready any more (`/readyz`), and closes connections after their next answer.
2. `SHUTDOWN_NOTICE` seconds later it accepts no connection and closes those that are idle.
3. It ends with the last request in flight, or `SHUTDOWN_TIMEOUT` seconds later.

The second and third are uvicorn's. Ctrl-C skips the first, and so does SIGTERM in development,
where nobody balances and `--reload` stops a worker with each change. A worker whose parent was
killed stops in the same way: it would keep the port from the next one.
"""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from megapolis import environment, limits
from megapolis.logger import logger

_has_begun = False


def has_begun() -> bool:
    """Whether this process was told to stop."""
    return _has_begun


@contextmanager
def announced() -> Iterator[None]:
    """Within the lifespan, put the notice before what the server does at SIGTERM."""
    global _has_begun
    stop = signal.getsignal(signal.SIGTERM)
    if not callable(stop) or environment.ENVIRONMENT == "development":
        yield
        return
    loop = asyncio.get_running_loop()

    def begin(number: int, frame: FrameType | None) -> None:
        global _has_begun
        if not _has_begun:
            _has_begun = True
            loop.call_soon_threadsafe(loop.call_later, limits.SHUTDOWN_NOTICE, stop, number, frame)

    signal.signal(signal.SIGTERM, begin)
    try:
        yield
    finally:
        _has_begun = False
        signal.signal(signal.SIGTERM, stop)


@contextmanager
def following_parent() -> Iterator[None]:
    """Within the lifespan of a worker, stop when the process that started it is gone."""
    parent = multiprocessing.parent_process()
    if parent is None:
        yield
        return
    loop = asyncio.get_running_loop()

    def stop() -> None:
        loop.remove_reader(parent.sentinel)
        logger.error("The parent process is gone")
        os.kill(os.getpid(), signal.SIGTERM)

    loop.add_reader(parent.sentinel, stop)
    try:
        yield
    finally:
        loop.remove_reader(parent.sentinel)
