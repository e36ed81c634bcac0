"""The asynchronous connection pool, beneath `megapolis.statements`.

In a request the pool is open: the ASGI lifespan opens and closes it. Outside one, open it yourself:

    async with database.connected():
        widgets = await statements.list_widgets.all(limit=10)

Statements that belong together share a connection and are committed or undone together:

    async with database.transaction():
        await first.one(id=1)
        await second.one(id=2)

When PostgreSQL is away, does not answer in time, or every connection is taken for too long, what
is raised is `DatabaseUnavailable`, a 503 with `Retry-After`. Unique and check constraints raise
psycopg's own errors (`psycopg.errors.UniqueViolation`, …), for a service to give them a meaning.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from select import POLLIN, poll
from typing import Any, Final

import psycopg
from django.db import connections
from psycopg import AsyncConnection, AsyncRawCursor
from psycopg.types.numeric import Int8Dumper
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from megapolis import environment
from megapolis.errors import Conflict, ServiceUnavailable, UnprocessableContent

CONNECT_TIMEOUT: Final = 3
"""Seconds to wait for PostgreSQL to accept a connection."""
CHECKOUT_TIMEOUT: Final = 2.0
"""Seconds that a request waits for a free connection before it is told to come again."""
WAITING_PER_CONNECTION: Final = 50
"""Requests that may wait for each connection: at 1 ms a statement, the last waits 50 ms."""
STATEMENT_TIMEOUT: Final = 5_000
"""Milliseconds after which PostgreSQL gives a statement up."""

Pool = AsyncConnectionPool[AsyncConnection[tuple[Any, ...]]]

_pool: Pool | None = None
_transaction: ContextVar[AsyncConnection[tuple[Any, ...]] | None] = ContextVar(
    "transaction", default=None
)


class DatabaseUnavailable(ServiceUnavailable):
    """PostgreSQL cannot answer now. Nothing was changed, or the change was not acknowledged."""

    detail = "The database is temporarily unavailable"


class ValueNotStorable(UnprocessableContent):
    """A value is outside what its column can hold, such as a number beyond bigint."""

    detail = "A value is out of range"


class ReferenceGone(Conflict):
    """What a new row refers to was deleted meanwhile."""

    detail = "Something that this refers to no longer exists"


async def open_pool() -> None:
    """Open the pool in the background; the database may be away, and is awaited when needed."""
    global _pool
    size = environment.DATABASE_POOL_SIZE
    _pool = AsyncConnectionPool(
        kwargs=_connection_parameters(),
        configure=_configure,
        min_size=size,
        max_size=size,
        max_waiting=size * WAITING_PER_CONNECTION,
        timeout=CHECKOUT_TIMEOUT,
        # An attempt that fails is not repeated in the background, where psycopg would wait longer
        # each time: the next request makes the next attempt, so recovery is immediate.
        reconnect_timeout=0,
        open=False,
    )
    await _pool.open()


async def close_pool() -> None:
    """Close every connection."""
    global _pool
    if _pool is not None:
        await _pool.close()
        _pool = None


@asynccontextmanager
async def connected() -> AsyncIterator[None]:
    """Have the pool open in a script, a command or a test."""
    await open_pool()
    try:
        yield
    finally:
        await close_pool()


@asynccontextmanager
async def transaction() -> AsyncIterator[None]:
    """Commit what happens inside, or undo it all if an exception leaves. Nested, a savepoint."""
    outer = _transaction.get()
    with _translated_errors():
        if outer is not None:
            async with outer.transaction():
                yield
            return
        async with _checkout() as connection, connection.transaction():
            token = _transaction.set(connection)
            try:
                yield
            finally:
                _transaction.reset(token)


async def fetch(sql: bytes, arguments: Sequence[Any], *, reads: bool) -> list[tuple[Any, ...]]:
    """Run one statement with `$n` placeholders and return its rows.

    Outside a transaction it is run a second time where that is sure to be harmless: after a
    connection was lost under a statement that only reads, after a deadlock, and after a migration
    has changed the result of a prepared plan.
    """
    inside = _transaction.get()
    with _translated_errors():
        if inside is not None:
            return await _execute(inside, sql, arguments)
        async with _checkout() as connection:
            try:
                return await _execute(connection, sql, arguments)
            except (psycopg.errors.FeatureNotSupported, psycopg.errors.InvalidSqlStatementName):
                await connection.execute(b"DEALLOCATE ALL")
                return await _execute(connection, sql, arguments)
            except (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure):
                return await _execute(connection, sql, arguments)
            except psycopg.OperationalError:
                if not (reads and connection.broken):
                    raise
        async with _checkout() as connection:
            return await _execute(connection, sql, arguments)


async def _execute(
    connection: AsyncConnection[tuple[Any, ...]], sql: bytes, arguments: Sequence[Any]
) -> list[tuple[Any, ...]]:
    cursor = await connection.execute(sql, arguments)
    return await cursor.fetchall() if cursor.description else []


@asynccontextmanager
async def _checkout() -> AsyncIterator[AsyncConnection[tuple[Any, ...]]]:
    """Lend a living connection. The dead ones in front of it are replaced by the pool."""
    if _pool is None:
        raise RuntimeError("the database pool is closed: use `async with database.connected():`")
    connection = await _pool.getconn()
    while _is_dead(connection):
        await connection.close()
        await _pool.putconn(connection)
        connection = await _pool.getconn()
    try:
        yield connection
    finally:
        await _pool.putconn(connection)


def _is_dead(connection: AsyncConnection[Any]) -> bool:
    """Tell whether the server has hung up, without a round trip.

    An idle connection has nothing to read, unless the server said goodbye or sent a notice.
    """
    if connection.closed:
        return True
    poller = poll()
    poller.register(connection.fileno(), POLLIN)
    if not poller.poll(0):
        return False
    try:
        connection.pgconn.consume_input()
    except psycopg.OperationalError:
        return True
    return connection.pgconn.status != psycopg.pq.ConnStatus.OK


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except (PoolTimeout, TooManyRequests, PoolClosed, psycopg.OperationalError) as exc:
        raise DatabaseUnavailable from exc
    except (psycopg.DataError, UnicodeEncodeError) as exc:
        raise ValueNotStorable from exc
    except psycopg.errors.ForeignKeyViolation as exc:
        raise ReferenceGone from exc


def _connection_parameters() -> dict[str, Any]:
    """Return what Django would connect with, for one database has one address."""
    params = connections["default"].get_connection_params()
    for name in ("cursor_factory", "context", "prepare_threshold"):
        params.pop(name, None)
    prepared = environment.DATABASE_PREPARED_STATEMENTS
    return params | {
        "autocommit": True,
        "cursor_factory": AsyncRawCursor,
        "prepare_threshold": 0 if prepared else None,
        "connect_timeout": CONNECT_TIMEOUT,
    }


async def _configure(connection: AsyncConnection[Any]) -> None:
    """Prepare a new connection: every integer is a bigint, so that one SQL has one plan."""
    connection.adapters.register_dumper(int, Int8Dumper)
    await connection.execute(
        b"SELECT set_config('TimeZone', 'UTC', false), set_config('statement_timeout', $1, false)",
        [str(STATEMENT_TIMEOUT)],
        prepare=False,
    )
