"""A timer that is started and ended again and again."""

import asyncio
from collections.abc import Callable


class Timer:
    """Calls `action` unless it is ended in time. `is_running` from its start to its end."""

    _timer: asyncio.TimerHandle

    __slots__ = ("_action", "_loop", "_timer", "is_running")

    def __init__(self, loop: asyncio.AbstractEventLoop, action: Callable[[], None]) -> None:
        self._loop = loop
        self._action = action
        self.is_running = False

    def start(self, seconds: float) -> None:
        """Begin to count, from the start if it was counting."""
        self.end()
        self._timer = self._loop.call_later(seconds, self._action)
        self.is_running = True

    def end(self) -> None:
        """Stop counting. Safe to repeat."""
        if self.is_running:
            self._timer.cancel()
            self.is_running = False
