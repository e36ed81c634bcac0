"""How a connection to the database of Django's settings is made."""

import asyncio
from time import monotonic
from typing import Any, Final

from django.db import connections

from megapolis import environment
from megapolis.database.wire import Connection
from megapolis.environment import limits

SETTINGS: Final = (
    b"SELECT set_config('TimeZone', 'UTC', false), set_config('statement_timeout', $1, false)"
)
"""Sent on each new connection. A transaction pooler would give the settings to other clients, so
there the role must have them (docs/limits.md)."""


async def connect() -> Connection:
    """Connect, and set what the session needs. Raises psycopg's errors and TimeoutError."""
    began = monotonic()
    connection = await Connection.connect(**connection_parameters())
    connection.listen()
    connection.since = began  # What the session knows of the server is as old as that.
    started = monotonic()
    try:
        async with asyncio.timeout(limits.DATABASE_CONNECT_TIMEOUT):
            if environment.DATABASE_PREPARED_STATEMENTS:
                await connection.fetch(SETTINGS, [str(limits.STATEMENT_TIMEOUT * 1000)])
            else:
                await connection.command(b"SELECT 1")
    except BaseException:
        connection.abort()
        raise
    connection.round_trip = monotonic() - started
    return connection


def connection_parameters() -> dict[str, Any]:
    """Return the parameters that Django would connect with."""
    params = connections["default"].get_connection_params()
    for name in ("cursor_factory", "context", "prepare_threshold"):
        params.pop(name, None)
    return params | {"autocommit": True}
