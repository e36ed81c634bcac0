"""Statements on the wire: libpq's pipeline mode on one socket.

A statement is sent while the responses to earlier ones are still on their way, and responses come
in the order of the statements. Each statement is followed by a Sync: outside of `BEGIN` it has a
transaction of its own, and its error affects no other statement.

Parameters are sent as text, of the types that the casts in the statement name.
https://www.psycopg.org/psycopg3/docs/api/pq.html
https://www.postgresql.org/docs/current/libpq-pipeline-mode.html
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from select import POLLERR, POLLHUP, POLLIN, poll
from time import monotonic
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection
from psycopg.errors import NotSupportedError
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult

from megapolis import environment
from megapolis.database.adapters import Row

COPY: Final = (ExecStatus.COPY_IN, ExecStatus.COPY_OUT, ExecStatus.COPY_BOTH)

type Tables = frozenset[str]
NO_TABLES: Final[Tables] = frozenset()


class State(Enum):
    """Who may use a connection."""

    OPEN = auto()
    """Anybody may send a statement."""
    RESERVED = auto()
    """One caller has it to itself."""
    RETIRED = auto()
    """Nobody else may use it. It is closed when no statement and no transaction is left."""
    CLOSED = auto()


@dataclass(slots=True, eq=False)
class InFlight:
    """A statement that was sent, until its Sync is responded to."""

    reply: asyncio.Future[PGresult]
    is_read: bool = False
    tables: Tables = NO_TABLES
    prepares: bytes | None = None
    """The SQL, until PostgreSQL has prepared it."""
    result: PGresult | None = None


class Pipeline(AsyncConnection[Row]):
    """A connection whose socket the event loop watches. Call `listen()` first.

    `on_response` is called when responses were read, and when the connection is lost.
    """

    state = State.OPEN
    on_response: Callable[[Any], None] | None = None
    is_stuck = False
    """Its oldest statement takes long: send nothing more."""

    def listen(self) -> None:
        """Enter pipeline mode, and watch the socket from now on."""
        self.in_flight: deque[InFlight] = deque()
        self.since = self.progress_at = monotonic()
        self._loop = asyncio.get_running_loop()
        self._socket = self.pgconn.socket
        self._events = poll()
        self._events.register(self._socket, POLLIN)
        self.pgconn.enter_pipeline_mode()
        self._loop.add_reader(self._socket, self.read)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is in flight and no transaction is open."""
        return self.pgconn.transaction_status == TransactionStatus.IDLE

    def is_alive(self) -> bool:
        """Whether the server has not closed it. Asks the socket: the event loop may be late."""
        while self.state is not State.CLOSED and self._events.poll(0):
            self._read_once()
        return self.state is not State.CLOSED

    def disconnect(self) -> None:
        """Close the connection, whatever its state. Safe to repeat."""
        self._lose(psycopg.OperationalError("the connection was closed"))

    def read(self) -> None:
        """Take in what the server has sent, and all of it if the server has disconnected.

        uvloop reports a socket with an error once, although there may be more to read.
        """
        self._read_once()
        while self.in_flight and self._is_disconnected():
            self._read_once()
        if self.on_response is not None:
            self.on_response(self)

    def _send(
        self, entry: InFlight, sql: bytes, values: Any = None, name: bytes | None = None
    ) -> None:
        if not self.in_flight:
            self.progress_at = monotonic()
        try:
            if name is not None and entry.prepares is not None:
                self.pgconn.send_prepare(name, sql)
            if name is not None and environment.DATABASE_PREPARED_STATEMENTS:
                self.pgconn.send_query_prepared(name, values)
            else:
                self.pgconn.send_query_params(sql, values)
            self.pgconn.pipeline_sync()
        except psycopg.OperationalError as exc:
            self._lose(exc)
            raise
        self.in_flight.append(entry)
        if self._has_unsent():
            self._loop.add_writer(self._socket, self._write)

    def _read_once(self) -> None:
        try:
            self.pgconn.consume_input()
            result: PGresult | bool | None = False
            while self.in_flight and not self.pgconn.is_busy():
                last, result = result, self.pgconn.get_result()
                if last is result is None:
                    raise psycopg.OperationalError("the connection has no more responses")
                if result is not None:  # None ends the results of a command.
                    self._take(self.in_flight[0], result)
        except psycopg.Error as exc:
            self._lose(exc)

    def _take(self, entry: InFlight, result: PGresult) -> None:
        """Note one result of the oldest statement."""
        if result.status == ExecStatus.PIPELINE_SYNC:
            self._finish(entry)
        elif result.status in COPY:
            if not entry.reply.done():
                entry.reply.set_exception(NotSupportedError("COPY is not supported here"))
            self.disconnect()
        elif entry.prepares is not None and result.status == ExecStatus.COMMAND_OK:
            entry.prepares = None
        elif entry.result is None or result.status == ExecStatus.FATAL_ERROR:
            entry.result = result

    def _finish(self, entry: InFlight) -> None:
        """The last response to the oldest statement is here."""
        self.in_flight.popleft()
        self.progress_at, self.is_stuck = monotonic(), False
        if not entry.reply.done():
            if entry.result is None:
                entry.reply.set_exception(psycopg.OperationalError("there is no response"))
            else:
                entry.reply.set_result(entry.result)

    def _is_disconnected(self) -> bool:
        return any(events & (POLLERR | POLLHUP) for _, events in self._events.poll(0))

    def _write(self) -> None:
        if not self._has_unsent() and self.state is not State.CLOSED:
            self._loop.remove_writer(self._socket)

    def _has_unsent(self) -> bool:
        """Send what the socket takes, and tell whether there is more."""
        try:
            return bool(self.pgconn.flush())
        except psycopg.OperationalError as exc:
            self._lose(exc)
            return False

    def _lose(self, exc: psycopg.Error) -> None:
        if self.state is State.CLOSED:
            return
        self.state = State.CLOSED
        for remove in (self._loop.remove_reader, self._loop.remove_writer):
            with suppress(OSError):  # libpq closes the socket itself if the server did.
                remove(self._socket)
        self.pgconn.finish()
        while self.in_flight:
            entry = self.in_flight.popleft()
            if not entry.reply.done():
                entry.reply.set_exception(type(exc)(*exc.args))
        if self.on_response is not None:
            self.on_response(self)
