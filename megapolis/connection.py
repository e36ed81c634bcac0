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
from itertools import count
from select import POLLIN, poll
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import AsyncConnection
from psycopg.abc import Transformer as AbstractTransformer
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult

from megapolis import environment

type Row = tuple[Any, ...]

CANCEL_TIMEOUT: Final = 2.0
"""Seconds that PostgreSQL has to give up a statement whose caller is gone."""


class _Statement(NamedTuple):
    name: bytes
    transformer: AbstractTransformer
    formats: list[PyFormat]


class Connection(AsyncConnection[Row]):
    """A connection. Once it is listening, use what is defined here and nothing else of it.

    It notices by itself when the server hangs up, and is `closed` then.
    """

    @property
    def is_idle(self) -> bool:
        """Whether it is in working order, with no statement and no transaction under way."""
        return self.pgconn.transaction_status == TransactionStatus.IDLE

    @property
    def is_alive(self) -> bool:
        """Whether the server has not hung up. Asks the socket, for the loop may not have yet."""
        while not self.closed and self._unread.poll(0):
            self._read()
        return not self.closed

    @property
    def age(self) -> float:
        """Seconds since it began to listen."""
        return self._loop.time() - self._since

    def listen(self) -> None:
        """Watch the socket from now on."""
        self._statements: dict[bytes, _Statement] = {}
        self._numbers = count()
        self._reply: asyncio.Future[PGresult] | None = None
        self._result: PGresult | None = None
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()
        self._unread = poll()
        self._socket = self.pgconn.socket
        self._is_listening = True
        self._writable = asyncio.Event()
        self._unread.register(self._socket, POLLIN)
        self._loop.add_reader(self._socket, self._read)

    async def fetch(self, sql: bytes, arguments: Sequence[Any] = ()) -> list[Row]:
        """Run one statement with `$n` placeholders and return its rows, if it yields any.

        Raises psycopg's errors; `OperationalError` with `closed` set if the connection was lost.
        A caller that is cancelled has the statement cancelled on the server.
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
        return transformer.load_rows(0, result.ntuples, tuple)

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
        """Close the connection, whatever its state.

        Where the server has hung up, libpq has closed the socket already. The loop must be told
        still, and at once: the next connection gets the same number.
        """
        if self._is_listening:
            self._is_listening = False
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._writable.set()
            self.pgconn.finish()

    async def _prepare(self, sql: bytes, parameters: int) -> _Statement:
        # Counted before it is sent: a caller that is cancelled leaves a name behind that is taken.
        name = b"statement_%d" % next(self._numbers)
        if environment.DATABASE_PREPARED_STATEMENTS:
            self.pgconn.send_prepare(name, sql)
            await self._receive()
        statement = _Statement(name, Transformer(self), [PyFormat.TEXT] * parameters)
        self._statements[sql] = statement
        return statement

    async def _receive(self) -> PGresult:
        self._reply = self._loop.create_future()
        try:
            while self.pgconn.flush():
                await self._until_writable()
            result = await self._reply
        except asyncio.CancelledError:
            await self._cancel_statement()
            raise
        finally:
            self._reply = None
        if result.status == ExecStatus.FATAL_ERROR:
            raise error_from_result(result, encoding=self.info.encoding)
        return result

    def _read(self) -> None:
        """Take in what the server has sent, and hand the reply over when it is complete."""
        try:
            self.pgconn.consume_input()
        except psycopg.OperationalError as exc:
            self.hang_up()
            if self._reply and not self._reply.done():
                self._reply.set_exception(exc)
            return
        while self._reply and not self.pgconn.is_busy():
            result = self.pgconn.get_result()
            if result is None:
                if self._result and not self._reply.done():
                    self._reply.set_result(self._result)
                return
            self._result = result

    async def _until_writable(self) -> None:
        self._writable.clear()
        self._loop.add_writer(self._socket, self._writable.set)
        try:
            await self._writable.wait()
        finally:
            if self._is_listening:
                self._loop.remove_writer(self._socket)

    async def _cancel_statement(self) -> None:
        """Have the server give the statement up, or close the connection if it does not."""
        self._reply = self._loop.create_future()
        try:
            async with asyncio.timeout(CANCEL_TIMEOUT):
                await self.cancel_safe(timeout=CANCEL_TIMEOUT)
                await self._reply
        except (TimeoutError, psycopg.Error, asyncio.CancelledError):
            self.hang_up()
