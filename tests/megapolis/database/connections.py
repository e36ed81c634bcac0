"""A connection that belongs to no pool, and a look at its server, which can be stopped."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from psycopg.pq import TransactionStatus

from megapolis.database.connection import connection_parameters
from megapolis.database.wire import Connection
from tests.waiting import eventually, eventually_equals

SLEEP = b"SELECT pg_sleep(60)"
LENGTH = b"SELECT length($1::text)"


async def connect() -> Connection:
    connection = await Connection.connect(**connection_parameters())
    connection.listen()
    return connection


async def backend(connection: Connection) -> int:
    [[pid]] = await connection.fetch(b"SELECT pg_backend_pid()")
    return int(pid)


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """The server process does nothing meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def until_active(connection: Connection) -> None:
    await eventually(lambda: connection.pgconn.transaction_status == TransactionStatus.ACTIVE)


async def until_asleep(observer: Any, pid: int, event: str = "PgSleep") -> None:
    """Return when the server works on `SLEEP`: it ignores a cancellation that comes before."""
    sql = "SELECT wait_event FROM pg_stat_activity WHERE pid = %s"

    async def found() -> Any:
        return await (await observer.execute(sql, [pid])).fetchone()

    await eventually_equals(found, (event,))


async def until_closed(connection: Connection) -> None:
    await eventually(lambda: connection.closed)
