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
is raised is `DatabaseUnavailable`, a 503 with `Retry-After` (`megapolis.database_errors`). Unique
and check constraints raise psycopg's own errors (`psycopg.errors.UniqueViolation`, …), for a
service to give them a meaning.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import uniform
from typing import Any, Final

import psycopg
from psycopg import errors

from megapolis import environment, limits, outages, transactions
from megapolis.connection import Connection, Row
from megapolis.connector import connect
from megapolis.database_errors import (
    DatabaseUnavailable,
    Exhausted,
    drops_connection,
    repeats_reads,
    translated,
)
from megapolis.pool import Pool
from megapolis.transactions import Transaction, block

PAUSE: Final = (0.01, 0.05)
"""Seconds, at the least and at the most, before a statement that lost to another is repeated."""

STALE_PLAN: Final = (errors.FeatureNotSupported, errors.InvalidSqlStatementName)
"""A migration has changed the result of a prepared plan, or somebody has dropped the plan."""

_pool: Pool | None = None


async def open_pool() -> None:
    """Open the pool in the background; the database may be away, and is asked when it is needed."""
    global _pool
    _pool = Pool(
        connect,
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
    outer = transactions.of_this_task()
    if outer is not None:
        async with block(outer.connection, b"SAVEPOINT s", b"RELEASE s", b"ROLLBACK TO s"):
            yield
        return
    pool = _open_pool()
    try:
        connection = await _take_for_writing(pool)
    except Exhausted as exc:
        raise DatabaseUnavailable from exc
    current = Transaction(connection)
    token = transactions.current.set(current)
    try:
        async with block(connection, b"BEGIN", b"COMMIT", b"ROLLBACK"):
            try:
                yield
            finally:
                # Before the end is sent: what a task sends after it would be on its own.
                current.is_over = True
    finally:
        transactions.current.reset(token)
        pool.give_back(connection)


async def fetch(sql: bytes, arguments: Sequence[Any], *, reads: bool) -> list[Row]:
    """Run one statement with `$n` placeholders and return its rows.

    Outside a transaction it is run a second time where that is sure to be harmless: after a
    connection was lost under a statement that only reads, after a deadlock, and after a migration
    has changed the result of a prepared plan.
    """
    inside = transactions.of_this_task()
    try:
        if inside is not None:
            return await _fetch_inside(inside, sql, arguments)
        pool = _open_pool()
        connection = await (pool.take() if reads else _take_for_writing(pool))
        try:
            rows = await connection.fetch(sql, arguments)
        except psycopg.Error as exc:
            if not await _may_repeat(connection, exc, reads=reads):
                raise
            if not connection.closed and not drops_connection(exc):
                # Here its plans are forgotten; those of another connection may be stale, too.
                return await connection.fetch(sql, arguments)
        else:
            if outages.noted and not reads:
                outages.end()
            return rows
        finally:
            pool.give_back(connection)
        connection = await pool.take()
        try:
            return await connection.fetch(sql, arguments)
        finally:
            pool.give_back(connection)
    except (psycopg.Error, UnicodeEncodeError, Exhausted) as exc:
        raise translated(exc) from exc


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
    return reads and (connection.closed or repeats_reads(exc))


async def _take_for_writing(pool: Pool) -> Connection:
    """Take a connection, and replace it if its session was read-only before this call.

    The state may have ended since, or another server may be the primary: a new session knows.
    """
    loop = asyncio.get_running_loop()
    started = loop.time()
    connection = await pool.take()
    if connection.is_read_only and connection.age > loop.time() - started:
        return await pool.renew(connection)
    return connection


def _open_pool() -> Pool:
    if _pool is None:
        raise RuntimeError("the database pool is closed: use `async with database.connected():`")
    return _pool
