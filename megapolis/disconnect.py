"""Noticing that a client has hung up, without a task for each request."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self

PATIENCE: Final = 1.0
"""Seconds for which nobody looks whether the client is there: a task that watches costs more than
a tenth of the whole request, and under overload a request waits half a second for its turn."""


class CancelledByDisconnect:
    """Cancels the block if the client hangs up, and leaves it quietly.

    Must be entered in a task. `receive` is ASGI's; what it still brings of a body is dropped, and
    what it raises ends the block too, and is raised there. With `at_once` the watch begins
    immediately, so that a client that is sending can go on.
    """

    def __init__(
        self, receive: Callable[[], Awaitable[Mapping[str, Any]]], *, at_once: bool = False
    ):
        self._receive = receive
        self._delay = 0 if at_once else PATIENCE
        self._watch: asyncio.Task[None] | None = None
        self._disconnected = False
        self._error: Exception | None = None

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - ASGI runs in tasks
        self._task = task
        self._cancelling = task.cancelling()
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(self._delay, self._start)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._timer.cancel()
        if self._watch is not None:
            self._watch.cancel()
        if not self._disconnected:
            return False
        # As asyncio.timeout() does: a cancellation by somebody else must go on.
        is_ours = self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError
        if is_ours and self._error is not None:
            raise self._error
        return is_ours

    def _start(self) -> None:
        self._watch = self._loop.create_task(self._wait())

    async def _wait(self) -> None:
        try:
            while (await self._receive())["type"] != "http.disconnect":
                pass
        except Exception as exc:  # noqa: BLE001 - raised where the block ends
            self._error = exc
        self._disconnected = True
        self._task.cancel()
