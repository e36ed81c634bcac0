"""Which connection runs a statement, for one event loop.

A few connections serve all statements, for each can have many in flight. A statement goes to the
connection with the fewest, and never behind one that is stuck. Further connections are made when
all others are stuck, and for transactions, which have a connection to themselves.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final

from megapolis.database.errors import Exhausted
from megapolis.database.wire import Connection
from megapolis.logger import logger

PIPELINES: Final = 4
"""Connections that are kept open, of a pool of five or more."""
DEPTH: Final = 256
"""Statements in flight on one connection."""
BATCH: Final = 8
"""Reads that go to one connection because they are sent at the same moment."""
STUCK: Final = 0.02
"""Seconds without a response, beyond two round trips, after which a connection is stuck."""
LIFETIME: Final = 3600.0
"""Seconds after which a connection is closed. It is replaced if it is needed."""
PAUSE: Final = 1.0
"""Seconds after a failed attempt to connect in which the other connections have to do."""

type Tables = frozenset[str]
type Waiter = tuple[asyncio.Future[Connection], float]
"""A caller that waits for a connection, and the loop's time at which it gives up."""


class Pool:
    """Gives out up to `size` connections, made by `connect`.

    A caller waits at most `timeout` seconds, then it gets `Exhausted`. If there is no connection at
    all and none can be made, it gets it at once. One in four connections is never left to
    statements on a table on which others are stuck already, so that a locked table does not stop
    requests that do not use it.

    A `depth` of one is for poolers in transaction mode: after each response they may give the
    server's connection to another client, although half of the next statement was sent to it.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        *,
        size: int,
        timeout: float,
        depth: int = DEPTH,
    ) -> None:
        self._connect = connect
        self._size = size
        self._for_one_table = size - size // 4
        self._usual = min(size if depth == 1 else PIPELINES, self._for_one_table)
        self._depth = depth
        self._batch = min(BATCH, depth)
        self._timeout = timeout
        self._connections: list[Connection] = []
        self._waiting: dict[Tables | None, deque[Waiter]] = {}
        """By the tables of the statement; None for transactions."""
        self._connecting: set[asyncio.Task[None]] = set()
        self._last: Connection | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._paused_until = 0.0
        self._is_open = self._has_stuck = False
        self._outage_is_logged = self._exhaustion_is_logged = False

    def open(self) -> None:
        """Begin to connect. The server may be unreachable; it is tried again when it is needed."""
        self._is_open = True
        self._loop = asyncio.get_running_loop()
        self._fill()

    async def filled(self) -> None:
        """Wait until no connection is being made."""
        while self._connecting:
            await asyncio.wait(self._connecting)

    async def close(self) -> None:
        """Close every connection, busy ones when they have finished."""
        self._is_open = False
        self._reject_all()
        for connection in self._connections.copy():
            connection.retire()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for task in self._connecting:
            task.cancel()
        await self.filled()

    async def acquire(self, tables: Tables, *, writes: bool = False) -> Connection:
        """Return a connection for one statement on these tables. Raises `Exhausted`.

        Send the statement before anything else is awaited.
        """
        started = monotonic()
        while True:
            connection = self._shared(tables, writes=writes) or await self._wait(tables)
            if writes and _is_outdated(connection, started):
                connection.retire()
            elif connection.is_usable:
                return connection

    async def reserve(self) -> Connection:
        """Return a connection that nobody else uses until it is released. Raises `Exhausted`."""
        started = monotonic()
        while True:
            connection = self._reserved() or await self._wait(None)
            if connection.closed:
                continue  # It was lost meanwhile.
            if not _is_outdated(connection, started):
                return connection
            connection.retire()
            self.release(connection)

    def release(self, connection: Connection) -> None:
        """Let others use a connection that was reserved."""
        connection.reserve(is_reserved=False)
        if not connection.is_idle or connection.is_retired or not self._is_open:
            connection.disconnect()
        elif self._waiting:
            self._serve()

    def forget(self, sql: bytes) -> None:
        """Have every connection prepare this statement anew."""
        for connection in self._connections:
            connection.forget(sql)

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection."""
        return bool(self._connections)

    def _shared(self, tables: Tables, *, writes: bool) -> Connection | None:
        """Return the connection with the fewest statements in flight, if one may be used.

        Commits of one connection wait for the disk one after the other, so writes get further
        connections: PostgreSQL flushes the commits of several connections together.
        """
        if self._has_stuck and self._stuck_on(tables) >= self._for_one_table:
            return None
        best = self._least_busy(writes=writes)
        if best is None:
            return None
        if not best.in_flight:
            if not best.is_alive():
                return self._shared(tables, writes=writes)
        elif writes:
            self._grow()
        if self._timer is None:
            self._start_timer()
        return best

    def _least_busy(self, *, writes: bool) -> Connection | None:
        last = None if writes else self._last
        if last and last.lacks_sync and last.is_usable and len(last.in_flight) < self._batch:
            return last  # In the same packet.
        best, fewest, usable = None, self._depth - writes, 0
        for connection in self._connections:
            if connection.is_usable and not connection.is_stuck:
                usable += 1
                in_flight = len(connection.in_flight) + connection.promised
                if in_flight < fewest + writes:
                    best, fewest = connection, in_flight
                if usable == self._usual and not writes:
                    break
        self._last = None if writes else best
        return best

    def _stuck_on(self, tables: Tables) -> int:
        """Return how many connections are stuck with a statement on one of the tables."""
        return sum(
            connection.is_stuck and not connection.tables.isdisjoint(tables)
            for connection in self._connections
        )

    def _reserved(self) -> Connection | None:
        """Reserve a connection that is not in use, or if no other can be made, the least busy."""
        usable = [each for each in self._connections if each.is_usable and not each.is_stuck]
        best = min(reversed(usable), key=lambda each: len(each.in_flight), default=None)
        if best is None or (
            best.in_flight and (self._depth == 1 or self._grow() or len(usable) == 1 < self._size)
        ):
            return None
        if not best.in_flight and not best.is_alive():
            return self._reserved()
        best.reserve(is_reserved=True)
        return best

    async def _wait(self, tables: Tables | None) -> Connection:
        if not self._is_open:
            raise Exhausted
        future: asyncio.Future[Connection] = self._loop.create_future()
        lane = self._waiting.setdefault(tables, deque())
        lane.append((future, monotonic() + self._timeout))
        if len(self._connecting) < len(self._waiting):
            self._grow()
        if self._timer is None:
            self._start_timer()
        try:
            connection = await future
        except asyncio.CancelledError:
            if not future.cancelled() and not future.exception():
                if tables is None:
                    self.release(future.result())
                else:
                    future.result().promised -= 1
            raise
        connection.promised -= tables is not None
        return connection

    def _serve(self) -> None:
        """Give connections to those who wait, in the order in which they came."""
        for tables, lane in list(self._waiting.items()):
            while lane:
                future, _ = lane[0]
                if not future.done():
                    connection = (
                        self._reserved() if tables is None else self._shared(tables, writes=True)
                    )
                    if connection is None:
                        if len(self._connecting) < len(self._waiting):
                            self._grow()
                        break
                    connection.promised += tables is not None
                    future.set_result(connection)
                lane.popleft()
            if not lane:
                self._waiting.pop(tables, None)
        if self._exhaustion_is_logged and not self._waiting:
            logger.info("A connection to PostgreSQL is free again")
            self._exhaustion_is_logged = False

    def _note(self, connection: Connection) -> None:
        """A connection has read responses, or is lost."""
        if connection.closed and connection in self._connections:
            self._connections.remove(connection)
            if self._connections:
                self._fill()
        if self._waiting:
            self._loop.call_soon(self._serve)

    def _start_timer(self) -> None:
        self._timer = self._loop.call_later(STUCK, self._look)

    def _look(self) -> None:
        """Find the connections that are stuck or old, and callers that have waited too long."""
        self._timer = None
        for connection in self._connections.copy():
            self._look_at(connection)
        self._has_stuck = any(connection.is_stuck for connection in self._connections)
        if self._connections:
            self._fill()
        self._give_up()
        if self._waiting:
            self._serve()
        if self._waiting or any(connection.in_flight for connection in self._connections):
            self._start_timer()

    def _look_at(self, connection: Connection) -> None:
        if connection.in_flight:
            connection.read()  # The event loop may be late, and the server not.
        now = monotonic()
        patience = STUCK + 2 * connection.round_trip
        if connection.in_flight and now - connection.progress_at > patience:
            connection.is_stuck = True
            connection.move_reads()
        if now - connection.since > LIFETIME and not connection.is_reserved:
            connection.retire()

    def _give_up(self) -> None:
        now = monotonic()
        for lane in self._waiting.values():
            while lane and (lane[0][1] <= now or lane[0][0].done()):
                future, _ = lane.popleft()
                if not future.done():
                    self._tell_exhaustion()
                    future.set_exception(Exhausted())

    def _fill(self) -> None:
        """Make the connections that are missing of the usual number."""
        for _ in range(self._usual - len(self._connections) - len(self._connecting)):
            self._grow()

    def _grow(self) -> bool:
        """Make one more connection if there may be one, and tell whether one is being made."""
        made = len(self._connections) + len(self._connecting)
        is_paused = self._connections and monotonic() < self._paused_until
        may_grow = self._is_open and made < self._size and not is_paused
        if may_grow and len(self._connecting) < self._usual:
            task = self._loop.create_task(self._add_connection())
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)
        return bool(self._connecting)

    async def _add_connection(self) -> None:
        try:
            connection = await self._connect()
        except Exception as exc:  # noqa: BLE001 - whatever it is, there is no connection
            self._paused_until = monotonic() + PAUSE
            if not self._outage_is_logged:
                reason = " ".join(str(exc).split()) or type(exc).__name__
                logger.error("PostgreSQL is away: {}", reason)
                self._outage_is_logged = True
            if self._connections:
                self._serve()
            elif len(self._connecting) == 1:
                self._reject_all()
            return
        if self._outage_is_logged:
            logger.info("PostgreSQL is back")
            self._outage_is_logged = False
        if not self._is_open:
            connection.disconnect()
            return
        connection.on_response = self._note
        self._connections.append(connection)
        self._connecting.discard(asyncio.current_task())
        self._fill()
        self._serve()

    def _tell_exhaustion(self) -> None:
        """Log it once, until nobody waits any more."""
        if not self._exhaustion_is_logged and not self._outage_is_logged:
            waiting = sum(len(lane) for lane in self._waiting.values())
            logger.warning("All connections to PostgreSQL are busy, and {} wait", waiting)
            self._exhaustion_is_logged = True

    def _reject_all(self) -> None:
        for lane in self._waiting.values():
            for future, _ in lane:
                if not future.done():
                    future.set_exception(Exhausted())
        self._waiting.clear()


def _is_outdated(connection: Connection, started: float) -> bool:
    """Whether the session is read-only since before `started`. A new one may be able to write."""
    return connection.is_read_only and connection.since < started
