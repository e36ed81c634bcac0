"""A pool of connections for one event loop.

Taking a connection and giving it back are a few list operations, because nothing else runs on the
loop meanwhile; that is why this is not `psycopg_pool`, which costs a fifth of a whole request
(`docs/decisions/0004-connection-pool.md`). Both the wait and the queue are bounded, an attempt to
connect that fails is not followed by a pause, and while PostgreSQL is away nobody waits for it.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from megapolis.connection import Connection
from megapolis.database_errors import Exhausted
from megapolis.logger import logger

LIFETIME: Final = 3600.0
"""Seconds after which a connection is replaced, so that a server process does not grow for ever."""


type Waiter = tuple[asyncio.Future[Connection], float]
"""Who waits for a connection, and when that ends in the time of the event loop."""


class Pool:
    """Lends up to `size` connections, made by `connect`.

    A caller waits `timeout` seconds at the longest, behind at most `max_waiting` others; after
    that it gets `Exhausted`. So does, at once, who comes when the queue has not moved for `stall`
    seconds: something holds all connections. The connection used last is lent first.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        *,
        size: int,
        max_waiting: int,
        timeout: float,
        stall: float,
    ):
        self._connect = connect
        self._limit = size
        self._max_waiting = max_waiting
        self._timeout = timeout
        self._stall = stall
        self._queue_moved = 0.0
        self._size = 0
        self._idle: list[Connection] = []
        self._waiting: deque[Waiter] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._connecting: set[asyncio.Task[None]] = set()
        self._is_open = False
        self._outage_is_logged = self._exhaustion_is_logged = False

    def open(self) -> None:
        """Begin to connect. The server may be away; it is asked again when somebody needs it."""
        self._is_open = True
        self._loop = asyncio.get_running_loop()
        for _ in range(self._limit):
            self._grow()

    @property
    def available(self) -> int:
        """How many connections nobody uses."""
        return len(self._idle)

    @property
    def is_exhausted(self) -> bool:
        """Whether as many wait for a connection as may, or those who do wait in vain."""
        if len(self._waiting) >= self._max_waiting:
            return True
        return bool(self._waiting) and self._loop.time() - self._queue_moved > self._stall

    async def filled(self) -> None:
        """Wait until no connection is on its way any more."""
        while self._connecting:
            await asyncio.wait(self._connecting)

    async def close(self) -> None:
        """Close every connection, those in use when they come back."""
        self._is_open = False
        self._refuse_waiting()
        while self._idle:
            self._drop(self._idle.pop())
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for task in self._connecting:
            task.cancel()
        await self.filled()

    async def take(self) -> Connection:
        """Return a living connection, or raise `Exhausted`."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_alive:
                return connection
            self._drop(connection)
        if not self._is_open:
            raise Exhausted
        if self.is_exhausted:
            self._tell_exhaustion()
            raise Exhausted
        self._grow()
        return await self._wait()

    def give_back(self, connection: Connection) -> None:
        """Take a connection back, and hand it on to whoever waits for the longest."""
        if connection.is_idle and self._is_open and connection.age < LIFETIME:
            while self._waiting:
                waiter, _ = self._waiting.popleft()
                if not waiter.done():
                    waiter.set_result(connection)
                    self._queue_moved = self._loop.time()
                    return
            self._idle.append(connection)
            if self._exhaustion_is_logged:
                logger.info("A connection to PostgreSQL is free again")
                self._exhaustion_is_logged = False
            return
        self._drop(connection)
        if self._waiting:
            self._grow()

    async def renew(self, connection: Connection) -> Connection:
        """Close a connection that was taken, and return a new one in its place."""
        connection.hang_up()
        try:
            return await self._connect()
        except BaseException as exc:
            self._size -= 1
            if self._waiting:
                self._grow()
            if isinstance(exc, Exception):
                raise Exhausted from exc
            raise

    async def _wait(self) -> Connection:
        future: asyncio.Future[Connection] = self._loop.create_future()
        now = self._loop.time()
        if not self._waiting:
            self._queue_moved = now
        waiter = (future, now + self._timeout)
        self._waiting.append(waiter)
        if self._timer is None:
            self._timer = self._loop.call_at(waiter[1], self._give_up)
        try:
            return await future
        except BaseException:
            with suppress(ValueError):
                self._waiting.remove(waiter)
            if future.done() and not future.cancelled() and not future.exception():
                self.give_back(future.result())
            raise

    def _give_up(self) -> None:
        """Refuse who has waited for long enough. One timer for all costs less than one for each."""
        now, self._timer = self._loop.time(), None
        while self._waiting and self._waiting[0][1] <= now:
            self._tell_exhaustion()
            _refuse(self._waiting.popleft())
        if self._waiting:
            self._timer = self._loop.call_at(self._waiting[0][1], self._give_up)

    def _drop(self, connection: Connection) -> None:
        connection.hang_up()
        self._size -= 1

    def _grow(self) -> None:
        if self._is_open and self._size < self._limit:
            self._size += 1
            task = self._loop.create_task(self._add_connection())
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    async def _add_connection(self) -> None:
        try:
            connection = await self._connect()
        except asyncio.CancelledError:
            self._size -= 1
            raise
        except Exception as exc:  # noqa: BLE001 - whatever it is, there is no connection
            self._size -= 1
            if not self._outage_is_logged:
                reason = " ".join(str(exc).split()) or type(exc).__name__
                logger.error("PostgreSQL is away: {}", reason)
                self._outage_is_logged = True
            if self._size == 0:
                self._refuse_waiting()
            return
        if self._outage_is_logged:
            logger.info("PostgreSQL is back")
            self._outage_is_logged = False
        self.give_back(connection)

    def _tell_exhaustion(self) -> None:
        """Once, however many are refused, until a connection is free again."""
        if not self._exhaustion_is_logged and not self._outage_is_logged:
            waiting = len(self._waiting)
            logger.warning("All connections to PostgreSQL are in use, and {} wait", waiting)
            self._exhaustion_is_logged = True

    def _refuse_waiting(self) -> None:
        while self._waiting:
            _refuse(self._waiting.popleft())


def _refuse(waiter: Waiter) -> None:
    future, _ = waiter
    if not future.done():
        future.set_exception(Exhausted())
