"""A timer that is started and ended again and again."""

import asyncio
from collections.abc import Callable


class Deadline:
    """Calls `action` unless it is ended in time."""

    __slots__ = ("_action", "_loop", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, action: Callable[[], None]) -> None:
        self._loop = loop
        self._action = action
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_running(self) -> bool:
        """Whether it was started and not ended."""
        return self._timer is not None

    def start(self, seconds: float) -> None:
        """Begin to count, from the start if it was counting."""
        self.end()
        self._timer = self._loop.call_later(seconds, self._action)

    def end(self) -> None:
        """Stop counting. Safe to repeat."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
