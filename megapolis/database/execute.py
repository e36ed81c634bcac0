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
from megapolis.database.adapters import Row
from megapolis.database.connection import connect
from megapolis.database.errors import (
    DatabaseUnavailable,
    Exhausted,
    state_of,
    translated,
)
from megapolis.database.pipeline import NO_TABLES, Tables
from megapolis.database.pool import Pool
from megapolis.database.transactions import Transaction
from megapolis.database.wire import STALE_PLAN, Connection, SendAgain
from megapolis.environment import limits

CONFLICTS: Final = (errors.DeadlockDetected, errors.SerializationFailure)
PAUSE: Final = (0.01, 0.05)
"""Least and greatest number of seconds before a statement is repeated after a conflict."""

CLOSED: Final = "the database pool is closed: use `async with database.connected():`"

_pool: Pool | None = None
_aside: Pool | None = None
"""The one connection of `fetch_aside`."""
_is_read_only: ContextVar[bool] = ContextVar("is_read_only", default=False)


async def open_pool() -> None:
    """Open the pool in the background. The database may be unreachable until it is needed."""
    global _aside, _pool
    _pool = Pool(connect, size=environment.DATABASE_POOL_SIZE, timeout=limits.MAX_WAIT)
    _aside = Pool(connect, size=1, timeout=limits.MAX_WAIT)
    _pool.open()


async def close_pool() -> None:
    """Close every connection, busy ones when they have finished."""
    global _aside, _pool
    pools, _pool, _aside = (_pool, _aside), None, None
    for pool in filter(None, pools):
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

    A failed statement spoils it all, even if its error is caught: nest what may fail. Tasks may
    not have nested ones open at the same time (`RuntimeError`).
    """
    _check_read_only()
    outer = transactions.of_this_task()
    if outer is not None:
        async with transactions.nested(outer):
            yield
        return
    pool = _open_pool()
    try:
        connection = await pool.acquire(writes=True, alone=True)
    except Exhausted as exc:
        raise DatabaseUnavailable from exc
    try:
        async with transactions.begun(connection):
            yield
    finally:
        pool.release(connection)


async def fetch(
    sql: bytes, arguments: Sequence[Any], *, reads: bool, tables: Tables = NO_TABLES
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
        return await _fetch(_open_pool(), sql, arguments, reads=reads, tables=tables)
    except (psycopg.Error, UnicodeEncodeError, Exhausted) as exc:
        raise translated(exc) from exc


async def fetch_aside(sql: bytes, arguments: Sequence[Any]) -> list[Row]:
    """Run a statement that only reads, on a connection of its own beside the pool.

    It does not wait for a pool that is exhausted. If no connection can be made, but the pool has
    one, the statement is run there. A session that cannot write is replaced first.
    """
    pool, aside = _open_pool(), _aside
    if aside is None:
        raise RuntimeError(CLOSED)
    aside.open()
    try:
        return await _fetch(aside, sql, arguments, reads=True)
    except (psycopg.Error, Exhausted) as exc:
        if pool.is_connected and not aside.is_connected:
            return await fetch(sql, arguments, reads=True)
        raise translated(exc) from exc


async def _fetch(
    pool: Pool, sql: bytes, arguments: Sequence[Any], *, reads: bool, tables: Tables = NO_TABLES
) -> list[Row]:
    alone = not environment.DATABASE_PREPARED_STATEMENTS
    met: list[type[Exception]] = []
    while True:
        connection = await pool.acquire(tables, writes=not reads or pool is _aside, alone=alone)
        try:
            rows = await connection.fetch(sql, arguments, is_read=reads, tables=tables)
        except (SendAgain, psycopg.Error) as exc:
            if not _may_repeat(connection, exc, met.count(type(exc)), reads=reads):
                raise
            met.append(type(exc))
        else:
            if not reads:
                outages.end()
            return rows
        finally:
            if alone:
                pool.release(connection)
        if met[-1] in CONFLICTS:  # Immediately it would meet the same statement again.
            await asyncio.sleep(uniform(*PAUSE))  # noqa: S311 - no secret


async def _fetch_inside(
    transaction: Transaction, sql: bytes, arguments: Sequence[Any]
) -> list[Row]:
    try:
        return await transaction.connection.fetch(sql, arguments)
    except STALE_PLAN as exc:
        # The transaction has failed, and the statement cannot be prepared again inside it.
        transaction.connection.retire()
        raise DatabaseUnavailable from exc


def _may_repeat(connection: Connection, exc: Exception, before: int, *, reads: bool) -> bool:
    """Whether to run a statement again after an error that it has met so often before."""
    if isinstance(exc, SendAgain):
        return True
    if isinstance(exc, STALE_PLAN):
        return before < environment.DATABASE_POOL_SIZE  # Each connection has a plan of its own.
    if before:
        return False
    if isinstance(exc, errors.QueryCanceled) and connection.was_cancelled:
        return True  # It was another's statement that was to be cancelled.
    if isinstance(exc, CONFLICTS):
        return True
    return reads and (connection.closed or bool((state := state_of(exc)) and state.repeats_reads))


def _check_read_only() -> None:
    if _is_read_only.get():
        raise RuntimeError("nothing may be written before the session was found to be valid")


def _open_pool() -> Pool:
    if _pool is None:
        raise RuntimeError(CLOSED)
    return _pool
