"""The database as the event loop sees it, beneath `megapolis.statements`.

In a request the pool is open: the ASGI lifespan opens and closes it. Outside one, open it yourself:

    async with database.connected():
        widgets = await statements.list_widgets.all(limit=10)

Statements that belong together share a connection and are committed or undone together:

    async with database.transaction():
        await first.one(id=1)
        await second.one(id=2)

Tasks that are started inside (`asyncio.gather`) take part in it, and must end before it does.

When PostgreSQL is away, does not answer in time, or every connection is taken for too long, what
is raised is `DatabaseUnavailable`, a 503 with `Retry-After`. Unique and check constraints raise
psycopg's own errors (`psycopg.errors.UniqueViolation`, …), for a service to give them a meaning.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from random import uniform
from typing import Any, Final

import psycopg
from django.db import connections
from psycopg import errors

from megapolis import environment, limits
from megapolis.connection import Connection, Row
from megapolis.errors import Conflict, ServiceUnavailable, UnprocessableContent
from megapolis.pool import Exhausted, Pool

PAUSE: Final = (0.01, 0.05)
"""Seconds, at the least and at the most, before a statement that lost to another is repeated."""

SETTINGS: Final = (
    b"SELECT set_config('TimeZone', 'UTC', false), set_config('statement_timeout', $1, false)"
)
"""What each new connection is told. Behind a transaction pooler there is no such thing: what one
client sets would reach others and not stay with it, so there the role has it (docs/limits.md)."""

STALE_PLAN: Final = (errors.FeatureNotSupported, errors.InvalidSqlStatementName)
"""A migration has changed the result of a prepared plan, or somebody has dropped the plan."""


class DatabaseUnavailable(ServiceUnavailable):
    """PostgreSQL cannot answer now. Nothing was changed, or the change was not acknowledged."""

    detail = "The database is temporarily unavailable"


class ValueNotStorable(UnprocessableContent):
    """A value is outside what its column can hold, such as a number beyond bigint."""

    detail = "A value is out of range"


class ReferenceGone(Conflict):
    """What a new row refers to was deleted meanwhile."""

    detail = "Something that this refers to no longer exists"


@dataclass
class Transaction:
    """What is open on a connection, or was."""

    connection: Connection
    is_over: bool = False


_pool: Pool | None = None
_transaction: ContextVar[Transaction | None] = ContextVar("transaction", default=None)


async def open_pool() -> None:
    """Open the pool in the background; the database may be away, and is asked when it is needed."""
    global _pool
    _pool = Pool(
        _connect,
        size=environment.DATABASE_POOL_SIZE,
        max_waiting=limits.DATABASE_QUEUE,
        timeout=limits.DATABASE_WAIT,
        stall=limits.DATABASE_STALL,
    )
    _pool.open()


async def close_pool() -> None:
    """Close every connection, those in use when they come back."""
    global _pool
    if _pool is not None:
        pool, _pool = _pool, None
        await pool.close()


def is_exhausted() -> bool:
    """Whether a request that needs a connection would be refused at once."""
    return _pool is not None and _pool.is_exhausted


def has_idle_connection() -> bool:
    """Whether a request that needs a connection would not have to wait for it."""
    return _pool is None or _pool.available > 0


@asynccontextmanager
async def connected() -> AsyncIterator[None]:
    """Have the pool open in a script, a command or a test. Where it is open, nothing happens."""
    if _pool is not None:
        yield
        return
    await open_pool()
    try:
        yield
    finally:
        await close_pool()


@asynccontextmanager
async def transaction() -> AsyncIterator[None]:
    """Commit what happens inside, or undo it all if an exception leaves. Nested, a savepoint.

    A failed statement spoils it all, even if its error is caught: nest what may fail.
    """
    outer = _transaction_of_this_task()
    if outer is not None:
        async with _block(outer.connection, b"SAVEPOINT s", b"RELEASE s", b"ROLLBACK TO s"):
            yield
        return
    pool = _open_pool()
    try:
        connection = await pool.take()
    except Exhausted as exc:
        raise DatabaseUnavailable from exc
    current = Transaction(connection)
    token = _transaction.set(current)
    try:
        async with _block(connection, b"BEGIN", b"COMMIT", b"ROLLBACK"):
            try:
                yield
            finally:
                # Before the end is sent: what a task sends after it would be on its own.
                current.is_over = True
    finally:
        _transaction.reset(token)
        pool.give_back(connection)


async def fetch(sql: bytes, arguments: Sequence[Any], *, reads: bool) -> list[Row]:
    """Run one statement with `$n` placeholders and return its rows.

    Outside a transaction it is run a second time where that is sure to be harmless: after a
    connection was lost under a statement that only reads, after a deadlock, and after a migration
    has changed the result of a prepared plan.
    """
    inside = _transaction_of_this_task()
    try:
        if inside is not None:
            return await _fetch_inside(inside, sql, arguments)
        pool = _open_pool()
        connection = await pool.take()
        try:
            return await connection.fetch(sql, arguments)
        except psycopg.Error as exc:
            if not await _may_repeat(connection, exc, reads=reads):
                raise
            if not connection.closed:
                # Here its plans are forgotten; those of another connection may be stale, too.
                return await connection.fetch(sql, arguments)
        finally:
            pool.give_back(connection)
        connection = await pool.take()
        try:
            return await connection.fetch(sql, arguments)
        finally:
            pool.give_back(connection)
    except (psycopg.Error, UnicodeEncodeError, Exhausted) as exc:
        raise _translated(exc) from exc


async def _fetch_inside(
    transaction: Transaction, sql: bytes, arguments: Sequence[Any]
) -> list[Row]:
    try:
        return await transaction.connection.fetch(sql, arguments)
    except STALE_PLAN as exc:
        # The transaction is lost, and with it the way to prepare anew.
        transaction.connection.retire()
        raise DatabaseUnavailable from exc


async def _may_repeat(connection: Connection, exc: psycopg.Error, *, reads: bool) -> bool:
    if isinstance(exc, STALE_PLAN):
        await connection.forget_statements()
        return True
    if isinstance(exc, errors.DeadlockDetected | errors.SerializationFailure):
        # At once, it would run into the same one that was let through.
        await asyncio.sleep(uniform(*PAUSE))  # noqa: S311 - no secret
        return True
    return reads and connection.closed


@asynccontextmanager
async def _block(
    connection: Connection, begin: bytes, commit: bytes, rollback: bytes
) -> AsyncIterator[None]:
    try:
        await connection.command(begin)
        try:
            yield
            _refuse_a_spoilt_one(connection)
        except BaseException:
            if not connection.closed:
                await connection.command(rollback)
            raise
        await connection.command(commit)
    except psycopg.Error as exc:
        raise _translated(exc) from exc


def _refuse_a_spoilt_one(connection: Connection) -> None:
    """PostgreSQL answers COMMIT with a silent rollback where a statement has failed before."""
    if connection.has_failed:
        raise RuntimeError("a statement failed in the transaction, and with it the whole of it")


def _transaction_of_this_task() -> Transaction | None:
    current = _transaction.get()
    if current is not None and current.is_over:
        raise RuntimeError("the transaction in which this task was started is over")
    return current


def _open_pool() -> Pool:
    if _pool is None:
        raise RuntimeError("the database pool is closed: use `async with database.connected():`")
    return _pool


def _translated(exc: Exception) -> Exception:
    if isinstance(exc, psycopg.OperationalError | Exhausted):
        return DatabaseUnavailable()
    if isinstance(exc, psycopg.DataError | UnicodeEncodeError):
        return ValueNotStorable()
    if isinstance(exc, errors.ForeignKeyViolation):
        return ReferenceGone()
    return exc


async def _connect() -> Connection:
    connection = await Connection.connect(**_connection_parameters())
    connection.listen()
    try:
        if environment.DATABASE_PREPARED_STATEMENTS:
            milliseconds = round(limits.STATEMENT_TIMEOUT * 1000)
            async with asyncio.timeout(limits.DATABASE_CONNECT_TIMEOUT):
                await connection.fetch(SETTINGS, [str(milliseconds)])
    except BaseException:
        connection.hang_up()
        raise
    return connection


def _connection_parameters() -> dict[str, Any]:
    """Return what Django would connect with, for one database has one address."""
    params = connections["default"].get_connection_params()
    for name in ("cursor_factory", "context", "prepare_threshold"):
        params.pop(name, None)
    return params | {"autocommit": True, "connect_timeout": limits.DATABASE_CONNECT_TIMEOUT}
