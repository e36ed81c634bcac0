"""A psycopg connection that runs prepared statements on the event loop.

For each execution a cursor of psycopg converts the query, looks whether it is prepared, describes
its columns, and tells the event loop to watch the socket and to stop watching it. A statement is
the same each time and the socket is, too, so all of this is done once: what is left for each
execution is to send the parameters, to wait, and to load the rows. It takes a quarter of the
instructions (`docs/decisions/0003-statements-without-cursors.md`).

Parameters are sent as text, of the types that the statement's casts name. Built on what psycopg
documents for such use, its wrapper of libpq and its adapters:
https://www.psycopg.org/psycopg3/docs/api/pq.html
"""

import asyncio
import math
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from select import POLLERR, POLLHUP, POLLIN, poll
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import AsyncConnection
from psycopg.abc import Transformer as AbstractTransformer
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import NotSupportedError, error_from_result
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult

from megapolis import environment
from megapolis.database_errors import drops_connection

type Row = tuple[Any, ...]

CANCEL_TIMEOUT: Final = 2.0
"""Seconds that PostgreSQL has to give up a statement whose caller is gone."""

COPY: Final = (ExecStatus.COPY_IN, ExecStatus.COPY_OUT, ExecStatus.COPY_BOTH)
"""The server waits for more than an answer, and libpq would report so for ever."""


class _Statement(NamedTuple):
    name: bytes
    transformer: AbstractTransformer
    formats: list[PyFormat]


type _Reply = asyncio.Future[PGresult | psycopg.Error]


class Connection(AsyncConnection[Row]):
    """A connection. Once it is listening, use what is defined here and nothing else of it.

    It notices by itself when the server hangs up, and is `closed` then.
    """

    @property
    def is_idle(self) -> bool:
        """Whether it is in working order, with no statement and no transaction under way."""
        return self.pgconn.transaction_status == TransactionStatus.IDLE

    @property
    def has_failed(self) -> bool:
        """Whether a statement failed in a transaction, of which nothing can be committed now."""
        return self.pgconn.transaction_status == TransactionStatus.INERROR

    @property
    def is_alive(self) -> bool:
        """Whether the server has not hung up. Asks the socket, for the loop may not have yet."""
        while not self.closed and self._unread.poll(0):
            self._read()
        return not self.closed

    @property
    def is_read_only(self) -> bool:
        """True if the server has reported that this session's transactions cannot write.

        It reports these settings by itself, at the start of the session and when they change.
        """
        setting = self.pgconn.parameter_status
        return (
            setting(b"default_transaction_read_only") == b"on"
            or setting(b"in_hot_standby") == b"on"
        )

    @property
    def age(self) -> float:
        """Seconds since it began to listen."""
        return self._loop.time() - self._since

    def listen(self) -> None:
        """Watch the socket from now on."""
        self._statements: dict[bytes, _Statement] = {}
        self._numbers = count()
        self._reply: _Reply | None = None
        self._result: PGresult | None = None
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()
        self._socket = self.pgconn.socket
        self._unread = poll()
        self._unread.register(self._socket, POLLIN)
        self._loop.add_reader(self._socket, self._read)

    async def fetch(self, sql: bytes, arguments: Sequence[Any] = ()) -> list[Row]:
        """Run one statement with `$n` placeholders and return its rows, if it yields any.

        Raises psycopg's errors; `OperationalError` with `closed` set if the connection was lost.
        A caller that is cancelled has the statement cancelled on the server. COPY is refused, and
        costs the connection.
        """
        async with self.lock:
            statement = self._statements.get(sql) or await self._prepare(sql, len(arguments))
            transformer = statement.transformer
            values = transformer.dump_sequence(arguments, statement.formats)
            if environment.DATABASE_PREPARED_STATEMENTS:
                self.pgconn.send_query_prepared(statement.name, values)
            else:
                self.pgconn.send_query_params(sql, values)
            result = await self._receive()
        if result.status == ExecStatus.COMMAND_OK:
            return []
        transformer.set_pgresult(result)
        rows = transformer.load_rows(0, result.ntuples, tuple)
        transformer.set_pgresult(None, set_loaders=False)  # It would keep the bytes of them all.
        return rows

    async def command(self, sql: bytes) -> None:
        """Run something that is neither prepared nor yields rows, such as COMMIT."""
        async with self.lock:
            self.pgconn.send_query_params(sql, None)
            await self._receive()

    async def forget_statements(self) -> None:
        """Prepare every statement anew, because a migration or a pooler has spoilt them."""
        await self.command(b"DEALLOCATE ALL")
        self._statements.clear()

    def retire(self) -> None:
        """Have the pool replace it when it comes back."""
        self._since = -math.inf

    def hang_up(self) -> None:
        """Close the connection, whatever its state. Safe to repeat."""
        if self._socket >= 0:
            for remove in (self._loop.remove_reader, self._loop.remove_writer):
                with suppress(OSError):  # libpq closes the socket itself if the server did.
                    remove(self._socket)
            self._socket = -1
            self.pgconn.finish()

    async def _prepare(self, sql: bytes, parameters: int) -> _Statement:
        # Never a name again: if this is cancelled, the server may have taken note of it.
        name = b"statement_%d" % next(self._numbers)
        if environment.DATABASE_PREPARED_STATEMENTS:
            self.pgconn.send_prepare(name, sql)
            await self._receive()
        statement = _Statement(name, Transformer(self), [PyFormat.TEXT] * parameters)
        self._statements[sql] = statement
        return statement

    async def _receive(self) -> PGresult:
        reply: _Reply = self._loop.create_future()
        self._reply = reply
        try:
            if self._has_unsent():
                self._loop.add_writer(self._socket, self._write)
            outcome = await reply
        except asyncio.CancelledError:
            await self._cancel_statement()
            raise
        finally:
            self._reply = None
        if isinstance(outcome, psycopg.Error):
            raise outcome
        if outcome.status == ExecStatus.FATAL_ERROR:
            error = error_from_result(outcome, encoding=self.info.encoding)
            if drops_connection(error):
                self.retire()
            raise error
        return outcome

    def _read(self) -> None:
        """Take in what the server has sent, and all of it if the server has hung up.

        uvloop tells once of a socket with an error, and nothing more of what is still to be read.
        """
        self._take_in()
        while self._reply and not self._reply.done() and self._has_lost_the_server():
            self._take_in()

    def _take_in(self) -> None:
        """Read once, and hand the reply over if it is complete."""
        try:
            self.pgconn.consume_input()
        except psycopg.OperationalError as exc:
            self._lose(exc)
            return
        while self._reply and not self.pgconn.is_busy():
            result = self.pgconn.get_result()
            if result is None:
                self._hand_over(self._result)
                return
            if result.status in COPY:
                self._lose(NotSupportedError("COPY is not supported here"))
                return
            self._result = result

    def _has_lost_the_server(self) -> bool:
        return any(events & (POLLERR | POLLHUP) for _, events in self._unread.poll(0))

    def _write(self) -> None:
        if not self._has_unsent() and not self.closed:
            self._loop.remove_writer(self._socket)

    def _has_unsent(self) -> bool:
        """Send what the socket takes, and tell whether there is more."""
        try:
            return bool(self.pgconn.flush())
        except psycopg.OperationalError as exc:
            self._lose(exc)
            return False

    def _lose(self, exc: psycopg.Error) -> None:
        self.hang_up()
        self._hand_over(exc)

    def _hand_over(self, outcome: PGresult | psycopg.Error | None) -> None:
        """End the wait, if somebody waits. An error is handed over, and raised by who takes it."""
        self._result = None
        if self._reply and outcome and not self._reply.done():
            self._reply.set_result(outcome)

    async def _cancel_statement(self) -> None:
        """Have the server give the statement up, or close the connection if it does not."""
        if self.pgconn.transaction_status != TransactionStatus.ACTIVE:
            return  # The reply has come together with the cancellation.
        self._reply = self._loop.create_future()
        try:
            async with asyncio.timeout(CANCEL_TIMEOUT):
                await self.cancel_safe(timeout=CANCEL_TIMEOUT)
                await self._reply
        except (TimeoutError, psycopg.Error, asyncio.CancelledError):
            self.hang_up()
