"""What a supervisor and a load balancer ask: is the process alive, and should it get requests?

- `/livez` says that the event loop turns. It asks nobody, so that an outage of the database does
  not get healthy processes killed.
- `/readyz` says 200 when the database accepts writes and has what this code needs, and no check
  in `settings.API_READINESS` objects; and 503 otherwise, and from SIGTERM on. Each time it asks
  in one statement: the database may be restored, downgraded or demoted at any time. Migrations and
  columns that this code does not know do no harm: the next version may be on its way.

They need no token, are not limited or logged, and answer to every `Host`, for a probe often knows
an address only. They are not in the OpenAPI document, which is for clients of the API. Whoever
asks learns "ready" or "not ready"; the reason is in the log.
"""

import asyncio
from collections.abc import Collection, Sequence
from functools import cache
from typing import Any, Final

import psycopg
from django.apps import apps
from django.conf import settings
from django.db.migrations.loader import MigrationLoader
from django.utils.module_loading import import_string

from megapolis import database, limits, shutdown
from megapolis.database import outages
from megapolis.database.errors import sqlstate_of
from megapolis.errors import ServiceUnavailable
from megapolis.logger import logger
from megapolis.plain import PlainAnswer, Send, plain_problem

JSON: Final = {"Content-Type": "application/json"}
ALIVE: Final = PlainAnswer(200, {"status": "alive"}, JSON)
READY: Final = PlainAnswer(200, {"status": "ready"}, JSON)
NOT_READY: Final = plain_problem(503, "Not ready", {"Retry-After": "1"})
NOT_ALLOWED: Final = plain_problem(405, "Not supported here", {"Allow": "GET, HEAD"})

type Key = tuple[str, str]

PATHS: Final = frozenset({"/livez", "/readyz"})
QUESTION: Final = b"""
    SELECT current_setting('transaction_read_only') = 'on',
        ARRAY(SELECT concat(app, '.', name) FROM django_migrations),
        ARRAY(
            SELECT concat(needed.table_name, '.', needed.column_name)
            FROM unnest($1::text[], $2::text[]) AS needed (table_name, column_name)
            WHERE (
                SELECT attnum FROM pg_attribute
                WHERE attrelid = to_regclass(quote_ident(needed.table_name))
                AND attname = needed.column_name::name AND NOT attisdropped
            ) IS NULL
        )
"""
"""Is the session read-only, as all are on a standby? Which migrations are applied? Which columns
are missing? It takes 0.3 ms. A subquery is sure to use the index; for NOT EXISTS PostgreSQL would
read the columns of every table."""
SHOWN: Final = 3
"""Migrations or columns that are named in the log. Of a missing table all columns are missing."""


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
            async with asyncio.timeout(limits.MAX_WAIT):
                complaint = await _complaint()
        except (ServiceUnavailable, psycopg.Error, TimeoutError) as exc:
            cause = exc.__cause__ or exc
            if code := sqlstate_of(cause):
                return f"the readiness query failed with {code}: {cause}".partition("\n")[0]
            return "the database does not answer"
        if complaint:
            return complaint
        if code := outages.failing():
            return f"statements fail with {code}"
        reasons = (import_string(path)() for path in settings.API_READINESS)
        return next(filter(None, reasons), None)


async def _complaint() -> str | None:
    """Ask the database, and return what this code cannot work with."""
    [(is_read_only, applied, missing)] = await database.fetch_aside(QUESTION, needed_columns())
    if is_read_only:
        return "the database does not accept writes"
    if unapplied := _unapplied({tuple(name.split(".", 1)) for name in applied}):
        return f"migrations are not applied: {_shown(unapplied)}"
    return f"columns are missing: {_shown(missing)}" if missing else None


def _unapplied(applied: Collection[tuple[str, ...]]) -> list[str]:
    """Return the migrations that are missing. A squashed one stands for those that it replaces."""
    return [
        ".".join(key)
        for key, equivalents in expected_migrations().items()
        if key not in applied and not any(set(keys) <= set(applied) for keys in equivalents)
    ]


def _shown(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"


@cache
def expected_migrations() -> dict[Key, list[Sequence[Key]]]:
    """The migrations of this code, each with the sets of others that may stand for it."""
    migrations = MigrationLoader(None).disk_migrations
    expected: dict[Key, list[Sequence[Key]]] = {key: [] for key in sorted(migrations)}
    for key, migration in migrations.items():
        if migration.replaces:
            expected[key].append(migration.replaces)
        for old in migration.replaces:
            if old in expected:
                expected[old].append([key])
    return expected


@cache
def needed_columns() -> tuple[list[str], list[str]]:
    """The columns of this code's models, as a list of tables and one of columns."""
    tables, columns = zip(
        *(
            (model._meta.db_table, field.column)
            for model in apps.get_models(include_auto_created=True)
            if model._meta.managed and not model._meta.proxy and not model._meta.swapped
            for field in model._meta.local_concrete_fields
        ),
        strict=True,
    )
    return list(tables), list(columns)


readiness = Readiness()
