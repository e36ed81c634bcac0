"""The asynchronous connection pool, beneath `megapolis.statements`.

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

import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from select import POLLIN, poll
from typing import Any, ClassVar, Final, Self

import psycopg
from django.db import connections
from psycopg import AsyncConnection, AsyncRawCursor
from psycopg.types.numeric import Int8Dumper
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from megapolis import environment
from megapolis.errors import Conflict, ServiceUnavailable, UnprocessableContent
from megapolis.logger import logger

CONNECT_TIMEOUT: Final = 3
"""Seconds to wait for PostgreSQL to accept a connection."""
CHECKOUT_TIMEOUT: Final = 2.0
"""Seconds that a request waits for a free connection before it is told to come again."""
WAITING_PER_CONNECTION: Final = 50
"""Requests that may wait for each connection: at 1 ms a statement, the last waits 50 ms."""
STATEMENT_TIMEOUT: Final = 5_000
"""Milliseconds after which PostgreSQL gives a statement up."""

STALE_PLAN: Final = (psycopg.errors.FeatureNotSupported, psycopg.errors.InvalidSqlStatementName)
"""A migration has changed the result of a prepared plan, or somebody has dropped the plan."""


class Connection(AsyncConnection[tuple[Any, ...]]):
    """A connection of the pool. One line in the log says that PostgreSQL is away, one that it is
    back, however many attempts are made meanwhile.
    """

    away: ClassVar[bool] = False

    @classmethod
    async def connect(cls, *args: Any, **kwargs: Any) -> Self:
        """Connect, or raise psycopg's error."""
        try:
            connection = await super().connect(*args, **kwargs)
        except psycopg.Error as exc:
            if not cls.away:
                logger.error("PostgreSQL is away: {}", " ".join(str(exc).split()))
            cls.away = True
            raise
        if cls.away:
            logger.info("PostgreSQL is back")
        cls.away = False
        return connection


@dataclass
class Transaction:
    """What is open on a connection, or was."""

    connection: Connection
    is_over: bool = False


Pool = AsyncConnectionPool[Connection]

_pool: Pool | None = None
_transaction: ContextVar[Transaction | None] = ContextVar("transaction", default=None)


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
    # What it warns of is told otherwise: by `Connection`, and to the client.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    _pool = AsyncConnectionPool(
        connection_class=Connection,
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
    """Commit what happens inside, or undo it all if an exception leaves. Nested, a savepoint."""
    outer = _transaction_of_this_task()
    with _translated_errors():
        if outer is not None:
            async with outer.connection.transaction():
                yield
            return
        async with _checkout() as connection, connection.transaction():
            current = Transaction(connection)
            token = _transaction.set(current)
            try:
                yield
            finally:
                current.is_over = True
                _transaction.reset(token)


async def fetch(sql: bytes, arguments: Sequence[Any], *, reads: bool) -> list[tuple[Any, ...]]:
    """Run one statement with `$n` placeholders and return its rows.

    Outside a transaction it is run a second time where that is sure to be harmless: after a
    connection was lost under a statement that only reads, after a deadlock, and after a migration
    has changed the result of a prepared plan.
    """
    inside = _transaction_of_this_task()
    with _translated_errors():
        if inside is not None:
            try:
                return await _execute(inside.connection, sql, arguments)
            except STALE_PLAN as exc:  # psycopg forgets all plans with the rollback
                raise DatabaseUnavailable from exc
        async with _checkout() as connection:
            try:
                return await _execute(connection, sql, arguments)
            except STALE_PLAN:
                await connection.execute(b"DEALLOCATE ALL")
                return await _execute(connection, sql, arguments)
            except (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure):
                return await _execute(connection, sql, arguments)
            except psycopg.OperationalError:
                if not (reads and connection.broken):
                    raise
        async with _checkout() as connection:
            return await _execute(connection, sql, arguments)


def _transaction_of_this_task() -> Transaction | None:
    current = _transaction.get()
    if current is not None and current.is_over:
        raise RuntimeError("the transaction in which this task was started is over")
    return current


async def _execute(
    connection: Connection, sql: bytes, arguments: Sequence[Any]
) -> list[tuple[Any, ...]]:
    cursor = await connection.execute(sql, arguments)
    return await cursor.fetchall() if cursor.description else []


@asynccontextmanager
async def _checkout() -> AsyncIterator[Connection]:
    """Lend a living connection. The dead ones in front of it are replaced by the pool."""
    pool = _pool
    if pool is None:
        raise RuntimeError("the database pool is closed: use `async with database.connected():`")
    connection = await pool.getconn()
    while _is_dead(connection):
        await connection.close()
        await pool.putconn(connection)
        connection = await pool.getconn()
    try:
        yield connection
    finally:
        await pool.putconn(connection)


def _is_dead(connection: Connection) -> bool:
    """Tell whether the server has hung up, without a round trip.

    An idle connection has nothing to read, unless the server said goodbye or sent a notice.
    """
    poller = poll()
    try:
        poller.register(connection.fileno(), POLLIN)
        while poller.poll(0):
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


async def _configure(connection: Connection) -> None:
    """Prepare a new connection: every integer is a bigint, so that one SQL has one plan."""
    connection.adapters.register_dumper(int, Int8Dumper)
    await connection.execute(
        b"SELECT set_config('TimeZone', 'UTC', false), set_config('statement_timeout', $1, false)",
        [str(STATEMENT_TIMEOUT)],
        prepare=False,
    )
