"""Which connection runs a statement, for one event loop.

A few connections serve all statements, for each can have many in flight. A statement goes to the
connection with the fewest, and never behind one that is stuck. Further connections are made if
all are stuck, for transactions, which have a connection to themselves, and for writes.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final

from megapolis.database import outages
from megapolis.database.connections import PIPELINES, Connections
from megapolis.database.errors import Exhausted
from megapolis.database.pipeline import NO_TABLES, State, Tables
from megapolis.database.wire import Connection

WRITERS: Final = 6
"""Connections up to which one more is made for a write that finds none without statements."""
STUCK: Final = 0.02
"""Seconds without a response, beyond two round trips, after which a connection is stuck."""
LIFETIME: Final = 3600.0
"""Seconds after which a connection is closed. It is replaced if it is needed."""

type Lane = tuple[Tables, bool]
"""Callers that can use the same connections: the tables, and whether they want one alone."""


class Pool(Connections):
    """Gives out up to `size` connections, made by `connect`.

    A caller waits at most `timeout` seconds, then it gets `Exhausted`. If there is no connection at
    all and none can be made, it gets it at once. One in four connections is never left to
    statements on a table on which others are stuck already, so that a locked table does not stop
    requests that do not use it.
    """

    def __init__(
        self, connect: Callable[[], Awaitable[Connection]], *, size: int, timeout: float
    ) -> None:
        self._for_one_table = size - size // 4
        super().__init__(connect, size=size, usual=min(PIPELINES, self._for_one_table))
        self._timeout = timeout
        self._waiting: dict[Lane, deque[asyncio.Future[Connection | None]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._has_stuck = False

    async def close(self) -> None:
        """Close every connection, busy ones when they have finished."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await super().close()

    async def acquire(
        self, tables: Tables = NO_TABLES, *, writes: bool = False, alone: bool = False
    ) -> Connection:
        """Return a connection for one statement on these tables. Raises `Exhausted`.

        Send the statement before anything else is awaited. A connection that is used `alone`
        belongs to the caller until it is released.
        """
        connection = self._choose(tables, writes=writes, alone=alone)
        if connection is not None and not (writes and connection.is_read_only):
            return connection
        started, state = monotonic(), State.RESERVED if alone else State.OPEN
        try:
            async with asyncio.timeout(self._timeout):
                while True:
                    if connection is None:
                        connection = await self._turn(tables, alone=alone)
                    elif connection.state is state and (
                        # A newer session may be able to write.
                        not writes or connection.since >= started or not connection.is_read_only
                    ):
                        return connection
                    else:
                        connection.retire()
                        connection = None
                    connection = connection or self._choose(tables, writes=writes, alone=alone)
        except TimeoutError:
            if self._connections:
                outages.exhausted(sum(len(lane) for lane in self._waiting.values()))
            raise Exhausted from None

    def release(self, connection: Connection) -> None:
        """Let others use a connection that was used alone."""
        if not self._is_open:
            connection.retire()
        connection.release()
        if self._waiting:
            self._serve()

    def _choose(self, tables: Tables, *, writes: bool = False, alone: bool) -> Connection | None:
        """Return the connection with the fewest statements in flight, if one may be used."""
        if self._has_stuck and self._stuck_on(tables) >= self._for_one_table:
            return None
        best, others = self._least_busy(writes=writes or alone)
        if best is None or (alone and best.in_flight and not self._may_reserve_busy(others)):
            return None
        if not best.in_flight and not best.is_alive():
            return self._choose(tables, writes=writes, alone=alone)
        if alone:
            best.state = State.RESERVED
        elif writes and best.in_flight:
            # Commits of one connection wait for the disk one after the other.
            self._grow(WRITERS)
        if self._timer is None:
            self._start_timer()
        return best

    def _least_busy(self, *, writes: bool) -> tuple[Connection | None, int]:
        """Return that of the usable connections, and how many others there are.

        Reads use the usual number of connections, the first of equals, and writes the last of all.
        So reads seldom wait for a commit.
        """
        best, fewest, others = None, 0, -1
        for connection in reversed(self._connections) if writes else self._connections:
            if connection.state is State.OPEN and not connection.is_stuck:
                others += 1
                if best is None or len(connection.in_flight) < fewest:
                    best, fewest = connection, len(connection.in_flight)
                if others == self._usual - 1 and not writes:
                    break
        return best, others

    def _may_reserve_busy(self, others: int) -> bool:
        """Whether no other connection can be made, and one is left for statements."""
        if not self._connecting:
            self._grow(self._size)
        return not self._connecting and (others > 0 or self._size == 1)

    def _stuck_on(self, tables: Tables) -> int:
        """Return how many connections are stuck with a statement on one of the tables."""
        return sum(
            connection.is_stuck and not connection.tables.isdisjoint(tables)
            for connection in self._connections
        )

    async def _turn(self, tables: Tables, *, alone: bool) -> Connection | None:
        """Wait until a connection may be used. One to use alone is returned."""
        if not self._is_open:
            raise Exhausted
        future: asyncio.Future[Connection | None] = self._loop.create_future()
        self._waiting.setdefault((tables, alone), deque()).append(future)
        self._grow_for_waiting()
        if self._timer is None:
            self._start_timer()
        try:
            return await future
        except asyncio.CancelledError:
            if not future.cancelled() and not future.exception() and (given := future.result()):
                self.release(given)
            raise

    def _changed(self) -> None:
        if self._waiting:
            self._loop.call_soon(self._serve)

    def _serve(self) -> None:
        """Let those go on who wait, in the order in which they came."""
        for lane, futures in list(self._waiting.items()):
            tables, alone = lane
            while futures:
                if not futures[0].done():
                    connection = self._choose(tables, alone=alone)
                    if connection is None:
                        self._grow_for_waiting()
                        break
                    futures[0].set_result(connection if alone else None)
                futures.popleft()
            if not futures:
                self._waiting.pop(lane, None)

    def _start_timer(self) -> None:
        self._timer = self._loop.call_later(STUCK, self._look)

    def _look(self) -> None:
        """Find the connections that are stuck or old."""
        self._timer = None
        for connection in self._connections.copy():
            self._look_at(connection)
        self._has_stuck = any(connection.is_stuck for connection in self._connections)
        if self._connections:
            self._fill()
        if self._waiting:
            self._serve()
        if self._waiting or any(connection.in_flight for connection in self._connections):
            self._start_timer()

    def _look_at(self, connection: Connection) -> None:
        if connection.in_flight:
            connection.read()  # The event loop may be late, and the server not.
        now = monotonic()
        longest = STUCK + 2 * connection.round_trip
        if connection.in_flight and now - connection.progress_at > longest:
            connection.is_stuck = True
            connection.move_reads()
        if now - connection.since > LIFETIME and connection.state is State.OPEN:
            connection.retire()

    def _grow_for_waiting(self) -> None:
        if len(self._connecting) < len(self._waiting):
            self._grow(self._size)

    def _reject(self) -> None:
        for lane in self._waiting.values():
            for future in lane:
                if not future.done():
                    future.set_exception(Exhausted())
        self._waiting.clear()
