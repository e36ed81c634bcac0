"""The database for code that runs in the event loop, beneath `megapolis.database.statements`.

In a request the pool is open: the ASGI lifespan opens and closes it. Elsewhere, open it yourself:

    async with database.connected():
        widgets = await statements.list_widgets.all(limit=10)

Statements in a transaction share a connection and are committed or undone together:

    async with database.transaction():
        await first.one(id=1)
        await second.one(id=2)

Tasks that are started inside (`asyncio.gather`) take part in it, and must end before it does.

`DatabaseUnavailable`, a 503 with `Retry-After`, is raised if PostgreSQL is unreachable or does not
respond in time, or if every connection is busy for too long. Unique and check constraints raise
psycopg's errors (`psycopg.errors.UniqueViolation`, …), to which a service gives a meaning.
"""

from megapolis.database.errors import DatabaseUnavailable
from megapolis.database.execute import (
    close_pool,
    connected,
    fetch,
    fetch_aside,
    open_pool,
    read_only,
    transaction,
)
from megapolis.database.statements import Delete, Insert, Param, Statement, Update

__all__ = [
    "DatabaseUnavailable",
    "Delete",
    "Insert",
    "Param",
    "Statement",
    "Update",
    "close_pool",
    "connected",
    "fetch",
    "fetch_aside",
    "open_pool",
    "read_only",
    "transaction",
]
