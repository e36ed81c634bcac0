"""Runs statements and transactions on the pool's connections."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from random import uniform
from typing import Any, Final

import psycopg
from psycopg import errors

from megapolis import environment
from megapolis.database import outages, transactions
from megapolis.database.connection import connect
from megapolis.database.errors import (
    DatabaseUnavailable,
    Exhausted,
    repeats_reads,
    translated,
)
from megapolis.database.pool import DEPTH, Pool
from megapolis.database.transactions import Transaction, block
from megapolis.database.wire import Connection, Row, SendAgain
from megapolis.environment import limits

PAUSE: Final = (0.01, 0.05)
"""Least and greatest number of seconds before a statement is repeated after a deadlock."""

STALE_PLAN: Final = (errors.FeatureNotSupported, errors.InvalidSqlStatementName)
"""A migration has changed the result of a prepared plan, or the plan was deallocated."""

NO_TABLES: Final[frozenset[str]] = frozenset()

_pool: Pool | None = None
_aside: Connection | None = None
"""The connection of `fetch_aside`."""
_is_read_only: ContextVar[bool] = ContextVar("is_read_only", default=False)


async def open_pool() -> None:
    """Open the pool in the background. The database may be unreachable until it is needed."""
    global _pool
    depth = DEPTH if environment.DATABASE_PREPARED_STATEMENTS else 1
    size = environment.DATABASE_POOL_SIZE
    _pool = Pool(connect, size=size, timeout=limits.MAX_WAIT, depth=depth)
    _pool.open()


async def close_pool() -> None:
    """Close every connection, busy ones when they have finished."""
    global _aside, _pool
    if _aside is not None:
        _aside.disconnect()
        _aside = None
    if _pool is not None:
        pool, _pool = _pool, None
        await pool.close()


@asynccontextmanager
async def connected() -> AsyncIterator[None]:
    """Open the pool in a script, a command or a test. Where it is open, nothing happens."""
    if _pool is not None:
        yield
        return
    await open_pool()
    try:
        yield
    finally:
        await close_pool()


@contextmanager
def read_only() -> Iterator[None]:
    """Let a statement that writes, or a transaction, raise `RuntimeError` in this task."""
    token = _is_read_only.set(True)
    try:
        yield
    finally:
        _is_read_only.reset(token)


@asynccontextmanager
async def transaction() -> AsyncIterator[None]:
    """Commit what happens inside, or undo it all if an exception leaves. Nested, a savepoint.

    A failed statement spoils it all, even if its error is caught: nest what may fail.
    """
    _check_read_only()
    outer = transactions.of_this_task()
    if outer is not None:
        async with block(outer.connection, b"SAVEPOINT s", b"RELEASE s", b"ROLLBACK TO s"):
            yield
        return
    pool = _open_pool()
    try:
        connection = await pool.reserve()
    except Exhausted as exc:
        raise DatabaseUnavailable from exc
    current = Transaction(connection)
    token = transactions.current.set(current)
    try:
        async with block(connection, b"BEGIN", b"COMMIT", b"ROLLBACK"):
            try:
                yield
            finally:
                # Before the end is sent: a task's later statement would be outside of it.
                current.is_over = True
    finally:
        transactions.current.reset(token)
        pool.release(connection)


async def fetch(
    sql: bytes, arguments: Sequence[Any], *, reads: bool, tables: frozenset[str] = NO_TABLES
) -> list[Row]:
    """Run one statement with `$n` placeholders and return its rows.

    Outside a transaction it is run again, once for each error, where that is harmless: after the
    connection was lost if it only reads, after a deadlock, and after a migration has changed the
    result of a prepared plan. `tables` are those that it uses: `megapolis.database.pool` says why.
    """
    if not reads:
        _check_read_only()
    inside = transactions.of_this_task()
    try:
        if inside is not None:
            return await _fetch_inside(inside, sql, arguments)
        return await _fetch(sql, arguments, reads=reads, tables=tables)
    except (psycopg.Error, UnicodeEncodeError, Exhausted) as exc:
        raise translated(exc) from exc


async def fetch_aside(sql: bytes, arguments: Sequence[Any]) -> list[Row]:
    """Run a statement that only reads, on a connection of its own beside the pool.

    For one caller at a time. A pool that is exhausted does not hold it up. If no connection can be
    made, but the pool has one, it is run there.
    """
    global _aside
    pool = _open_pool()
    try:
        if _aside is None or not _aside.is_usable or _aside.is_read_only or not _aside.is_alive():
            if _aside is not None:
                _aside.disconnect()
            _aside = await connect()
        return await _aside.fetch(sql, arguments)
    except (psycopg.Error, TimeoutError) as exc:
        if (_aside is None or _aside.closed) and pool.is_connected:
            return await fetch(sql, arguments, reads=True)
        raise translated(exc) from exc


async def _fetch(
    sql: bytes, arguments: Sequence[Any], *, reads: bool, tables: frozenset[str]
) -> list[Row]:
    pool, is_alone = _open_pool(), False
    met: set[type[psycopg.Error]] = set()
    while True:
        connection = await pool.acquire(tables, writes=not reads)
        try:
            rows = await connection.fetch(
                sql, arguments, is_read=reads, is_alone=is_alone, tables=tables
            )
        except SendAgain:
            is_alone = True
        except psycopg.Error as exc:
            if type(exc) in met or not await _may_repeat(pool, connection, sql, exc, reads=reads):
                raise
            met.add(type(exc))
        else:
            if outages.noted and not reads:
                outages.end()
            return rows


async def _fetch_inside(
    transaction: Transaction, sql: bytes, arguments: Sequence[Any]
) -> list[Row]:
    try:
        return await transaction.connection.fetch(sql, arguments)
    except STALE_PLAN as exc:
        # The transaction has failed, and the statement cannot be prepared anew inside it.
        transaction.connection.retire()
        raise DatabaseUnavailable from exc


async def _may_repeat(
    pool: Pool, connection: Connection, sql: bytes, exc: psycopg.Error, *, reads: bool
) -> bool:
    if isinstance(exc, STALE_PLAN):
        pool.forget(sql)
        return True
    if isinstance(exc, errors.DeadlockDetected | errors.SerializationFailure):
        # Immediately it would meet the same statement again.
        await asyncio.sleep(uniform(*PAUSE))  # noqa: S311 - no secret
        return True
    if isinstance(exc, errors.QueryCanceled) and connection.was_cancelled:
        return True  # It was another's statement that was to be cancelled.
    return reads and (connection.closed or repeats_reads(exc))


def _check_read_only() -> None:
    if _is_read_only.get():
        raise RuntimeError("nothing may be written before the session was found to be valid")


def _open_pool() -> Pool:
    if _pool is None:
        raise RuntimeError("the database pool is closed: use `async with database.connected():`")
    return _pool
