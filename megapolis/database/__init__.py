"""The database as the event loop sees it, beneath `megapolis.statements`.

In a request the pool is open: the ASGI lifespan opens and closes it. Elsewhere, open it yourself:

    async with database.connected():
        widgets = await statements.list_widgets.all(limit=10)

Statements that belong together share a connection and are committed or undone together:

    async with database.transaction():
        await first.one(id=1)
        await second.one(id=2)

Tasks that are started inside (`asyncio.gather`) take part in it, and must end before it does.

If PostgreSQL is unreachable or does not respond in time, or every connection is busy for too long,
`DatabaseUnavailable` is raised, a 503 with `Retry-After`. Unique and check constraints raise
psycopg's own errors (`psycopg.errors.UniqueViolation`, …), for a service to give them a meaning.
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

__all__ = [
    "DatabaseUnavailable",
    "close_pool",
    "connected",
    "fetch",
    "fetch_aside",
    "open_pool",
    "read_only",
    "transaction",
]
