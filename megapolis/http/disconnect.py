"""Cancels work for a client that has disconnected, without a task for each request."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Final

WATCH_AFTER: Final = 1.0
"""Seconds before a task watches the client. The task costs a tenth of a short request."""


class CancelledByDisconnect:
    """Cancels the block if the client disconnects, and leaves it without an error.

    It cancels as `asyncio.timeout()` does. `receive` is ASGI's; the rest of a body is discarded.
    With `at_once` it reads immediately, so that a client that is still sending can finish.
    """

    def __init__(
        self, receive: Callable[[], Awaitable[Mapping[str, Any]]], *, at_once: bool = False
    ):
        self._receive = receive
        self._delay = 0 if at_once else WATCH_AFTER
        self._watch: asyncio.Task[None] | None = None
        self._scope = asyncio.timeout(None)

    async def __aenter__(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._delay, self._start)
        await self._scope.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._timer.cancel()
        if self._watch is not None:
            self._watch.cancel()
        try:
            await self._scope.__aexit__(kind, error, traceback)
        except TimeoutError:
            return True
        return False

    def _start(self) -> None:
        self._watch = asyncio.get_running_loop().create_task(self._wait())

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._scope.reschedule(0)
