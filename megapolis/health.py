"""What a supervisor and a load balancer ask: is the process alive, and should it get requests?

- `/livez` says that the event loop turns. It asks nobody, so that an outage of the database does
  not get healthy processes killed.
- `/readyz` says 200 when the database answers, its migrations are applied and the keys of the
  Supabase project were fetched once; and 503 before that, and from SIGTERM on.

They need no token, are not limited or logged, and answer to every `Host`, for a probe often knows
an address only. They are not in the OpenAPI document, which is for clients of the API. Whoever
asks learns "ready" or "not ready"; the reason is in the log.
"""

import asyncio
from functools import cache
from typing import Any, Final

import psycopg
from django.db.migrations.loader import MigrationLoader
from psycopg.errors import UndefinedTable

from accounts import supabase
from megapolis import database, limits, shutdown
from megapolis.errors import ServiceUnavailable
from megapolis.logger import logger
from megapolis.plain import PlainAnswer, Send, plain_problem

JSON: Final = {"Content-Type": "application/json"}
ALIVE: Final = PlainAnswer(200, {"status": "alive"}, JSON)
READY: Final = PlainAnswer(200, {"status": "ready"}, JSON)
NOT_READY: Final = plain_problem(503, "Not ready", {"Retry-After": "1"})
NOT_ALLOWED: Final = plain_problem(405, "Not supported here", {"Allow": "GET, HEAD"})

PATHS: Final = frozenset({"/livez", "/readyz"})
MIGRATIONS: Final = b"SELECT app, name FROM django_migrations"


async def answer(scope: dict[str, Any], send: Send) -> None:
    """Answer a request for one of `PATHS`."""
    if scope["method"] not in {"GET", "HEAD"}:
        await NOT_ALLOWED(send)
    elif scope["path"] == "/livez":
        await ALIVE(send)
    elif await readiness.holds():
        await READY(send)
    else:
        await NOT_READY(send)


class Readiness:
    """Finds out at most once at a time, however many ask, and logs when the answer changes."""

    def __init__(self) -> None:
        self._was: str | None = "never asked"
        self._finding: asyncio.Task[str | None] | None = None
        self._is_migrated = False

    async def holds(self) -> bool:
        """Whether this process should get requests."""
        if self._finding is None or self._finding.done():
            self._finding = asyncio.create_task(self._find())
        # One who stops waiting must not take the answer from the others.
        return await asyncio.shield(self._finding) is None

    async def _find(self) -> str | None:
        reason = await self._reason()
        if reason != self._was:
            logger.info("Not ready: {}" if reason else "Ready", reason)
            self._was = reason
        return reason

    async def _reason(self) -> str | None:
        """Why it is not ready, or None if it is."""
        if shutdown.is_announced():
            return "the process stops"
        try:
            async with asyncio.timeout(limits.DATABASE_WAIT):
                await self._ask_database()
        except (ServiceUnavailable, TimeoutError):
            return "the database does not answer"
        except UndefinedTable:
            return "no migration is applied"
        except psycopg.Error as exc:
            return f"the database refuses to say: {str(exc).strip()}"
        if not self._is_migrated:
            return "migrations are not applied"
        return None if supabase.has_keys() else "the keys of Supabase were not fetched yet"

    async def _ask_database(self) -> None:
        if self._is_migrated:
            await database.fetch(b"SELECT 1", [], reads=True)
        else:
            rows = await database.fetch(MIGRATIONS, [], reads=True)
            self._is_migrated = expected_migrations() <= set(rows)


@cache
def expected_migrations() -> frozenset[tuple[str, str]]:
    """The migrations of this code, by app and name."""
    return frozenset(MigrationLoader(None).disk_migrations)


readiness = Readiness()
