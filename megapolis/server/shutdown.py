"""How the service stops, seen from a worker (`megapolis/server/serve.py` goes through the steps).

1. Each response closes its connection. The whole service is not ready any more (`/readyz`), but
   accepts connections. A worker that is replaced alone stays ready, but accepts none: others do.
2. `SHUTDOWN_NOTICE` seconds later the worker accepts what waits in the queue of the socket and
   closes the socket and its idle connections.
3. It exits after its last request, or `SHUTDOWN_TIMEOUT` seconds later.

In development step 1 takes no time, since `--reload` stops the worker with each change.
"""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from megapolis import environment
from megapolis.environment import limits
from megapolis.logger import logger

GRACE: Final = 0.1
"""Seconds in which handshakes under way may end, after new ones are dropped."""

_has_begun = _is_announced = False


def has_begun() -> bool:
    """Return whether responses close their connections."""
    return _has_begun


async def why_not_ready() -> str | None:
    """Return the reason for `/readyz` (`API_READINESS`) if the whole service stops."""
    return "the process stops" if _is_announced else None


def begin(*, alone: bool) -> None:
    """Take note that this worker stops: alone, or with the whole service."""
    global _has_begun, _is_announced
    _has_begun, _is_announced = True, not alone


def notice() -> int:
    """Return the seconds between the first step and the second."""
    return 0 if environment.ENVIRONMENT == "development" else limits.SHUTDOWN_NOTICE


@contextmanager
def stop_with_parent() -> Iterator[None]:
    """Within the lifespan of a worker, stop when the process that started it is gone.

    Otherwise the worker would keep the port from the next service.
    """
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
