"""One connection to PostgreSQL, in the pipeline mode of libpq.

A statement is sent while the responses to earlier ones are still on their way, and responses come
in the order of the statements. A statement that writes is followed by a Sync: it has a transaction
and an error of its own. Statements that only read, and are sent in one turn of the event loop,
share a Sync and so a packet; after an error in one of them the later ones are sent again.

Parameters are sent as text, of the types that the casts in the statement name. Built on what
psycopg documents for such use, its wrapper of libpq and its adapters:
https://www.psycopg.org/psycopg3/docs/api/pq.html
https://www.postgresql.org/docs/current/libpq-pipeline-mode.html
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from select import POLLERR, POLLHUP, POLLIN, poll
from time import monotonic
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import AsyncConnection
from psycopg.abc import Transformer as AbstractTransformer
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import NotSupportedError, error_from_result
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult

from megapolis import environment
from megapolis.database.errors import drops_connection

type Row = tuple[Any, ...]

CANCEL_AFTER: Final = 0.02
"""Seconds that a statement may still run after its caller was cancelled."""
CANCEL_TIMEOUT: Final = 2.0
"""Seconds that PostgreSQL has to cancel a statement. After that the connection is closed."""

COPY: Final = (ExecStatus.COPY_IN, ExecStatus.COPY_OUT, ExecStatus.COPY_BOTH)


class SendAgain(Exception):
    """The statement, which only reads, was not run or waits behind one that is stuck."""


class _Plan(NamedTuple):
    name: bytes
    transformer: AbstractTransformer
    formats: list[PyFormat]


@dataclass(slots=True, eq=False)
class _InFlight:
    """A statement that was sent, until its last response is here."""

    reply: asyncio.Future[PGresult]
    is_read: bool = False
    shares_sync: bool = False
    tables: frozenset[str] = frozenset()
    commands: int = 1
    """How many commands still have to be responded to: to prepare, and to execute."""
    prepares: bytes | None = None
    """The SQL, until PostgreSQL has prepared it."""
    result: PGresult | None = None
    has_sync: bool = False


class Connection(AsyncConnection[Row]):
    """A connection. After `listen()`, use only what is defined here.

    `on_response` is called when responses were read, and when the connection is lost.
    """

    on_response: Callable[["Connection"], None] | None = None
    is_usable = True
    """A statement that belongs to no transaction may be sent on it."""
    is_reserved = False
    """A transaction has it to itself."""
    is_stuck = False
    """Its oldest statement takes long: send nothing more."""
    is_retired = False
    """It takes no more statements, and is closed when those in flight have ended."""
    lacks_sync = False
    """Reads wait for the end of this turn of the event loop to be sent."""
    promised = 0
    """Callers that the pool has given it to, and that have not sent their statement yet."""
    round_trip = 0.0
    """Seconds until PostgreSQL responded, when it was connected."""

    def listen(self) -> None:
        """Enter pipeline mode, and watch the socket from now on."""
        self._plans: dict[bytes, _Plan] = {}
        self._names = count()
        self._is_first = False
        self.in_flight: deque[_InFlight] = deque()
        self._cancelling: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self.since = self.progress_at = monotonic()
        self._socket = self.pgconn.socket
        self._events = poll()
        self._events.register(self._socket, POLLIN)
        self.pgconn.enter_pipeline_mode()
        self._loop.add_reader(self._socket, self.read)

    @property
    def tables(self) -> frozenset[str]:
        """The tables of the oldest statement in flight."""
        return self.in_flight[0].tables if self.in_flight else frozenset()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is in flight and no transaction is open."""
        return self.pgconn.transaction_status == TransactionStatus.IDLE

    @property
    def is_read_only(self) -> bool:
        """Whether the server has reported that this session's transactions cannot write.

        It reports these settings by itself, at the start of the session and when they change.
        """
        setting = self.pgconn.parameter_status
        return (
            setting(b"default_transaction_read_only") == b"on"
            or setting(b"in_hot_standby") == b"on"
        )

    @property
    def has_failed(self) -> bool:
        """Whether a statement failed in a transaction, which can only be rolled back now."""
        return self.pgconn.transaction_status == TransactionStatus.INERROR

    @property
    def was_cancelled(self) -> bool:
        """Whether a statement was cancelled on it, which may have met another one."""
        return self._cancelling is not None

    def is_alive(self) -> bool:
        """Whether the server has not closed it. Asks the socket: the event loop may be late."""
        while self._socket >= 0 and self._events.poll(0):
            self._read_once()
        return self._socket >= 0

    async def fetch(
        self,
        sql: bytes,
        arguments: Sequence[Any] = (),
        *,
        is_read: bool = False,
        is_alone: bool = False,
        tables: frozenset[str] = frozenset(),
    ) -> list[Row]:
        """Run one statement with `$n` placeholders and return its rows, if it yields any.

        Raises psycopg's errors; `OperationalError` with `closed` set if the connection was lost;
        `SendAgain`, if it `is_read`: then say `is_alone`, or it may share the next error, too.
        If the caller is cancelled, PostgreSQL cancels the statement. COPY is rejected, and costs
        the connection.
        """
        shares_sync = is_read and not is_alone
        entry = _InFlight(self._loop.create_future(), is_read, shares_sync, tables)
        plan = self._plans.get(sql)
        if plan is None:
            name = b"statement_%d" % next(self._names)  # A name is never used again.
            plan = _Plan(name, Transformer(self), [PyFormat.TEXT] * len(arguments))
            if environment.DATABASE_PREPARED_STATEMENTS:
                entry.prepares, entry.commands = sql, 2
        values = plan.transformer.dump_sequence(arguments, plan.formats)
        self._plans[sql] = plan
        self._send(entry, sql, values, plan.name)
        result = await self._result(entry)
        if result.status == ExecStatus.COMMAND_OK:
            return []
        plan.transformer.set_pgresult(result)
        rows = plan.transformer.load_rows(0, result.ntuples, tuple)
        plan.transformer.set_pgresult(None, set_loaders=False)  # Or it keeps the data.
        return rows

    async def command(self, sql: bytes) -> bytes | None:
        """Run what is neither prepared nor yields rows, such as COMMIT. Returns its status."""
        entry = _InFlight(self._loop.create_future())
        self._send(entry, sql, None, None)
        return (await self._result(entry)).command_status

    def forget(self, sql: bytes) -> None:
        """Prepare this statement anew at its next use."""
        self._plans.pop(sql, None)

    def reserve(self, *, is_reserved: bool) -> None:
        """Give it to a transaction, or take it back."""
        self.is_reserved = is_reserved
        self.is_usable = not (is_reserved or self.is_retired or self._socket < 0)

    def retire(self) -> None:
        """Close the connection as soon as nothing is in flight."""
        self.is_retired, self.is_usable = True, False
        if not self.in_flight and not self.is_reserved:
            self.disconnect()

    def move_reads(self) -> None:
        """Give up the reads behind a stuck statement, but not those of the same tables."""
        head, *behind = self.in_flight
        for entry in behind:
            if entry.is_read and not entry.reply.done() and entry.tables.isdisjoint(head.tables):
                entry.reply.set_exception(SendAgain())

    async def cancel_running(self) -> None:
        """Have PostgreSQL cancel what runs, and wait for its end; or close the connection."""
        if self.in_flight:
            self._cancel_if_running(self.in_flight[0])
        if self._cancelling is not None:
            await asyncio.wait([self._cancelling])

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

    def _send(self, entry: _InFlight, sql: bytes, values: Any, name: bytes | None) -> None:
        if not self.in_flight:
            self._is_first = True
        try:
            if self.lacks_sync and not entry.shares_sync:
                self._sync()
            if entry.prepares is not None and name is not None:
                self.pgconn.send_prepare(name, sql)
            if name is not None and environment.DATABASE_PREPARED_STATEMENTS:
                self.pgconn.send_query_prepared(name, values)
            else:
                self.pgconn.send_query_params(sql, values)
        except psycopg.OperationalError as exc:
            self._lose(exc)
            raise
        self.in_flight.append(entry)
        if not entry.shares_sync:
            self._sync()
        elif not self.lacks_sync:
            self.lacks_sync = True
            self._loop.call_soon(self._sync_reads)

    def _sync_reads(self) -> None:
        if self.lacks_sync and self._socket >= 0:
            self._sync()

    def _sync(self) -> None:
        """Send what was not sent, and end the transaction of it."""
        self.lacks_sync = False
        self.in_flight[-1].has_sync = True
        if self._is_first:  # Nothing was sent before that could have been responded to.
            self.progress_at, self._is_first = monotonic(), False
        try:
            self.pgconn.pipeline_sync()
        except psycopg.OperationalError as exc:
            self._lose(exc)
        else:
            if self._has_unsent():
                self._loop.add_writer(self._socket, self._write)

    async def _result(self, entry: _InFlight) -> PGresult:
        try:
            result = await entry.reply
        except asyncio.CancelledError:
            self._loop.call_later(CANCEL_AFTER, self._cancel_if_running, entry)
            raise
        if result.status == ExecStatus.FATAL_ERROR:
            error = error_from_result(result, encoding=self.info.encoding)
            if drops_connection(error):
                self.retire()
            raise error
        return result

    def _read_once(self) -> None:
        self._sync_reads()  # An error is sent at once, but ends at the Sync.
        try:
            self.pgconn.consume_input()
            result: PGresult | bool | None = False
            while self.in_flight and not self.pgconn.is_busy():
                last, result = result, self.pgconn.get_result()
                if last is result is None:
                    raise psycopg.OperationalError("the connection has no more responses")
                self._take(self.in_flight[0], result)
        except psycopg.Error as exc:
            self._lose(exc)

    def _take(self, entry: _InFlight, result: PGresult | None) -> None:
        """Note one result of the oldest statement. None ends the results of a command."""
        if result is None:
            self._end_command(entry)
        elif result.status == ExecStatus.PIPELINE_SYNC:
            if not entry.is_read:
                self._finish(entry)
            self._pop()
        elif result.status in COPY:
            raise NotSupportedError("COPY is not supported here")
        elif entry.prepares is not None and result.status == ExecStatus.COMMAND_OK:
            entry.prepares = None
        elif entry.result is None or result.status == ExecStatus.FATAL_ERROR:
            entry.result = result

    def _end_command(self, entry: _InFlight) -> None:
        entry.commands -= 1
        if entry.commands == 0 and entry.is_read:
            self._finish(entry)
        if entry.commands == 0 and not entry.has_sync:
            self._pop()

    def _finish(self, entry: _InFlight) -> None:
        self.progress_at = monotonic()
        self.is_stuck = False
        if entry.prepares is not None:
            self.forget(entry.prepares)
        result = entry.result
        if entry.reply.done() or result is None:
            pass
        elif result.status == ExecStatus.PIPELINE_ABORTED:
            entry.reply.set_exception(SendAgain())
        else:
            entry.reply.set_result(result)

    def _pop(self) -> None:
        self.in_flight.popleft()
        if not self.in_flight:
            if self.is_retired and not self.is_reserved:
                self.disconnect()
        elif self.in_flight[0].reply.done():  # Its caller has left.
            self._loop.call_later(CANCEL_AFTER, self._cancel_if_running, self.in_flight[0])

    def _is_disconnected(self) -> bool:
        return any(events & (POLLERR | POLLHUP) for _, events in self._events.poll(0))

    def _write(self) -> None:
        if not self._has_unsent() and self._socket >= 0:
            self._loop.remove_writer(self._socket)

    def _has_unsent(self) -> bool:
        """Send what the socket takes, and tell whether there is more."""
        try:
            return bool(self.pgconn.flush())
        except psycopg.OperationalError as exc:
            self._lose(exc)
            return False

    def _lose(self, exc: psycopg.Error) -> None:
        if self._socket < 0:
            return
        for remove in (self._loop.remove_reader, self._loop.remove_writer):
            with suppress(OSError):  # libpq closes the socket itself if the server did.
                remove(self._socket)
        self._socket, self.is_usable = -1, False
        self.pgconn.finish()
        while self.in_flight:
            entry = self.in_flight.popleft()
            if not entry.reply.done():
                entry.reply.set_exception(type(exc)(*exc.args))
        if self.on_response is not None:
            self.on_response(self)

    def _cancel_if_running(self, entry: _InFlight) -> None:
        """Cancel it, and retire: a late cancellation could meet the next statement."""
        if self._socket >= 0:
            self._read_once()  # The event loop may be late.
        is_cancelling = self._cancelling is not None and not self._cancelling.done()
        if not is_cancelling and self.in_flight and self.in_flight[0] is entry:
            self.is_retired, self.is_usable = True, False
            self._cancelling = self._loop.create_task(self._cancel(entry))

    async def _cancel(self, entry: _InFlight) -> None:
        try:
            async with asyncio.timeout(CANCEL_TIMEOUT):
                await self.cancel_safe(timeout=CANCEL_TIMEOUT)
                while self.in_flight and self.in_flight[0] is entry:  # noqa: ASYNC110 - rare
                    await asyncio.sleep(CANCEL_AFTER / 10)
        except (TimeoutError, psycopg.Error):
            self.disconnect()
