"""A pool whose connections are made of nothing, and whose clock is turned by hand."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from megapolis.pool import Pool

TIMEOUT, STALL = 2.0, 1.0


class FakeConnection:
    """A connection that is whatever a test says."""

    def __init__(self) -> None:
        self.is_alive = True
        self.is_idle = True
        self.age = 0.0

    def hang_up(self) -> None:
        self.is_alive = self.is_idle = False


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose time stands still until it is told."""

    now = 0.0

    def time(self) -> float:
        return self.now

    def settle(self, seconds: float = 0) -> None:
        """Let so many seconds pass, and all that can happen now."""
        self.now += seconds
        for _ in range(10):
            self.run_until_complete(asyncio.sleep(0))


class World:
    """A pool, the server that it connects to, and those who use it."""

    def __init__(self, *, size: int = 2, max_waiting: int = 3) -> None:
        self.loop = Loop()
        self.unhandled: list[Any] = []
        self.loop.set_exception_handler(lambda _, context: self.unhandled.append(context))
        self.attempts: list[asyncio.Future[FakeConnection]] = []
        self.made: list[FakeConnection] = []
        connect: Any = self.connect
        self.pool = Pool(connect, size=size, max_waiting=max_waiting, timeout=TIMEOUT, stall=STALL)
        self.do(self.pool.open)

    async def connect(self) -> FakeConnection:
        attempt: asyncio.Future[FakeConnection] = self.loop.create_future()
        self.attempts.append(attempt)
        return await attempt

    def do(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call it while the loop runs, and settle."""

        async def call() -> None:
            function(*arguments)

        self.loop.run_until_complete(call())
        self.loop.settle()

    def accept(self) -> FakeConnection:
        """Let the oldest attempt to connect succeed."""
        connection = FakeConnection()
        self.made.append(connection)
        self.attempts.pop(0).set_result(connection)
        self.loop.settle()
        return connection

    def refuse(self, error: Exception) -> None:
        """Let the oldest attempt to connect fail."""
        self.attempts.pop(0).set_exception(error)
        self.loop.settle()

    def start(self, awaitable: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = self.loop.create_task(awaitable)
        self.loop.settle()
        return task

    def take(self) -> asyncio.Task[Any]:
        task = self.start(self.pool.take())
        task.add_done_callback(lambda task: task.cancelled() or task.exception())
        return task

    def give_back(self, connection: Any) -> None:
        self.do(self.pool.give_back, connection)

    def end(self) -> None:
        closing = self.start(self.pool.close())
        assert closing.done()
        self.loop.settle()
        self.loop.close()
        assert self.unhandled == []
