"""A connection to PostgreSQL as the pool uses it: statements, states and cancellations."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from typing import Any, Final

import psycopg
from psycopg import errors
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult

from megapolis import environment
from megapolis.database.adapters import Plan, Row, error_of
from megapolis.database.errors import state_of
from megapolis.database.pipeline import NO_TABLES, InFlight, Pipeline, State, Tables

CANCEL_AFTER: Final = 0.02
"""Seconds that a statement may still run after its caller was cancelled."""
CANCEL_TIMEOUT: Final = 2.0
"""Seconds that PostgreSQL has to cancel a statement. After that the connection is closed."""
STALE_PLAN: Final = (errors.FeatureNotSupported, errors.InvalidSqlStatementName)
"""A migration has changed the result of a prepared plan, or the plan was deallocated."""


class SendAgain(Exception):
    """The statement only reads, and waits behind one that is stuck."""


class Connection(Pipeline):
    """A connection. After `listen()`, use only what is defined here and in `Pipeline`."""

    round_trip = 0.0
    """Seconds until PostgreSQL responded, when it was connected."""

    def listen(self) -> None:
        """Enter pipeline mode, and watch the socket from now on."""
        self._plans: dict[bytes, Plan] = {}
        self._numbers = count()
        self._cancelling: asyncio.Task[None] | None = None
        super().listen()

    @property
    def tables(self) -> Tables:
        """The tables of the oldest statement in flight."""
        return self.in_flight[0].tables if self.in_flight else NO_TABLES

    @property
    def has_failed(self) -> bool:
        """Whether a statement failed in a transaction, which can only be rolled back now."""
        return self.pgconn.transaction_status == TransactionStatus.INERROR

    @property
    def is_read_only(self) -> bool:
        """Whether transactions of this session cannot write.

        The server reports these settings at the start of the session and when they change.
        """
        setting = self.pgconn.parameter_status
        return (
            setting(b"default_transaction_read_only") == b"on"
            or setting(b"in_hot_standby") == b"on"
        )

    @property
    def was_cancelled(self) -> bool:
        """Whether a statement was cancelled on it. The cancellation may have met another one."""
        return self._cancelling is not None

    async def fetch(
        self,
        sql: bytes,
        arguments: Sequence[Any] = (),
        *,
        is_read: bool = False,
        tables: Tables = NO_TABLES,
    ) -> list[Row]:
        """Run one statement with `$n` placeholders and return its rows, if it yields any.

        Raises psycopg's errors; `OperationalError` if the connection was lost; `SendAgain` if it
        `is_read` and waits behind a stuck one. If the caller is cancelled, PostgreSQL cancels the
        statement. COPY is rejected, and costs the connection.
        """
        entry = InFlight(self._loop.create_future(), is_read, tables)
        plan = self._plans.get(sql)
        if plan is None:
            name = b"statement_%d" % next(self._numbers)  # A name is never used again.
            plan = Plan(self, name, arguments=len(arguments))
            entry.prepares = sql if environment.DATABASE_PREPARED_STATEMENTS else None
        values = plan.dump(arguments)
        self._plans[sql] = plan
        self._send(entry, sql, values, plan.name)
        try:
            return plan.load(await self._result(entry))
        except STALE_PLAN:
            if self._plans.get(sql) is plan:
                del self._plans[sql]  # It is prepared again at its next use.
            raise

    async def command(self, sql: bytes) -> bytes | None:
        """Run what is neither prepared nor yields rows, such as COMMIT. Returns its status."""
        entry = InFlight(self._loop.create_future())
        self._send(entry, sql)
        return (await self._result(entry)).command_status

    def release(self) -> None:
        """Let others use it again. It is closed if the caller has left something unfinished."""
        if self.state is State.RESERVED and self.is_idle:
            self.state = State.OPEN
        else:
            self.abort()

    def retire(self) -> None:
        """Close the connection as soon as no statement and no transaction is left."""
        if self.state is not State.CLOSED:
            self.state = State.RETIRED
            self._close_if_retired()

    def abort(self) -> None:
        """Have PostgreSQL cancel and undo what is unfinished. Close the connection then."""
        if not self.in_flight:
            self.disconnect()
            return
        self.cancel_running()
        self.retire()
        rollback = InFlight(self._loop.create_future())
        rollback.reply.cancel()  # Nobody waits for it.
        with suppress(psycopg.OperationalError):
            self._send(rollback, b"ROLLBACK")
        self._loop.call_later(CANCEL_TIMEOUT, self.disconnect)

    def move_reads(self) -> None:
        """Give up the reads behind a stuck statement, but not those of the same tables."""
        head, *behind = self.in_flight
        for entry in behind:
            if entry.is_read and not entry.reply.done() and entry.tables.isdisjoint(head.tables):
                entry.reply.set_exception(SendAgain())

    def cancel_running(self) -> None:
        """Have PostgreSQL cancel what runs. The connection is closed if it does not end."""
        if self.in_flight:
            self._cancel_if_running(self.in_flight[0])

    async def _result(self, entry: InFlight) -> PGresult:
        try:
            result = await entry.reply
        except asyncio.CancelledError:
            self._loop.call_later(CANCEL_AFTER, self._cancel_if_running, entry)
            raise
        if result.status == ExecStatus.FATAL_ERROR:
            error = error_of(result, encoding=self.info.encoding)
            if (state := state_of(error)) and state.drops_connection:
                self.retire()
            raise error
        return result

    def _finish(self, entry: InFlight) -> None:
        super()._finish(entry)
        if entry.prepares is not None:
            self._plans.pop(entry.prepares, None)
        if not self.in_flight:
            self._close_if_retired()
        elif self.in_flight[0].reply.done():  # Its caller has left.
            self._loop.call_later(CANCEL_AFTER, self._cancel_if_running, self.in_flight[0])

    def _close_if_retired(self) -> None:
        if self.state is State.RETIRED and self.is_idle:
            self.disconnect()

    def _cancel_if_running(self, entry: InFlight) -> None:
        """Cancel it, and retire: a late cancellation could meet the next statement."""
        if self.state is not State.CLOSED:
            self._read_once()  # The event loop may be late.
        is_cancelling = self._cancelling is not None and not self._cancelling.done()
        if not is_cancelling and self.in_flight and self.in_flight[0] is entry:
            self.state = State.RETIRED
            self._cancelling = self._loop.create_task(self._cancel(entry))

    async def _cancel(self, entry: InFlight) -> None:
        try:
            async with asyncio.timeout(CANCEL_TIMEOUT):
                await self.cancel_safe(timeout=CANCEL_TIMEOUT)
                while self.in_flight and self.in_flight[0] is entry:  # noqa: ASYNC110 - rare
                    await asyncio.sleep(CANCEL_AFTER / 10)
        except (TimeoutError, psycopg.Error):
            self.disconnect()
