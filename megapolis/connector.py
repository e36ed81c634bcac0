"""How a connection to the database of Django's settings is made ready for use."""

import asyncio
from typing import Any, Final

from django.db import connections

from megapolis import environment, limits
from megapolis.connection import Connection

SETTINGS: Final = (
    b"SELECT set_config('TimeZone', 'UTC', false), set_config('statement_timeout', $1, false)"
)
"""What each new connection is told. Behind a transaction pooler there is no such thing: what one
client sets would reach others and not stay with it, so there the role has it (docs/limits.md)."""


async def connect() -> Connection:
    """Connect, and tell PostgreSQL what it must know. Raises psycopg's errors and TimeoutError."""
    connection = await Connection.connect(**connection_parameters())
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


def connection_parameters() -> dict[str, Any]:
    """Return what Django would connect with, for one database has one address."""
    params = connections["default"].get_connection_params()
    for name in ("cursor_factory", "context", "prepare_threshold"):
        params.pop(name, None)
    return params | {"autocommit": True}
