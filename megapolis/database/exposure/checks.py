"""Names the tables that are open to the Data API of a Supabase project, and those we cannot read.

`manage.py check --database default` does, every `migrate` when it is done, and the service in
production when it starts.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import groupby
from typing import Final

import psycopg
from django.core.checks import CheckMessage, Tags, register
from django.db import connections

from megapolis import environment
from megapolis.database import execute
from megapolis.database.exposure import table_names
from megapolis.database.exposure.closing import close_tables
from megapolis.database.exposure.findings import FINDINGS, to_messages
from megapolis.errors import ServiceUnavailable
from megapolis.logger import logger

PAUSE: Final = 5.0
"""Seconds until the database is asked again, if it was unreachable when the service started."""


@register(Tags.database)
def check_exposure(
    *, databases: Sequence[str] | None = None, **kwargs: object
) -> list[CheckMessage]:
    """Check the databases that the command names."""
    messages: list[CheckMessage] = []
    for alias in databases or ():
        connection = connections[alias]
        with connection.cursor() as cursor:
            cursor.execute(FINDINGS.format(names="%s"), [table_names(connection)])
            messages += to_messages(cursor.fetchall())
    return messages


def close_after_migrate(*, using: str, **kwargs: object) -> None:
    """Close what is open, and log how, and what is still open."""
    for statement in close_tables(connections[using]):
        logger.info("Closed to the Data API: {}", statement)
    _log(check_exposure(databases=[using]))


@asynccontextmanager
async def check_at_start() -> AsyncIterator[None]:
    """Within the block, check once in production, beside the requests; the result is logged."""
    if environment.ENVIRONMENT != "production":
        yield
        return
    task = asyncio.create_task(_check_once())
    try:
        yield
    finally:
        task.cancel()


async def _check_once() -> None:
    """Check once, as soon as the database responds."""
    sql = FINDINGS.format(names="$1").encode()
    arguments = [table_names(connections["default"])]
    while True:
        try:
            _log(to_messages(await execute.fetch(sql, arguments, reads=True)))
        except ServiceUnavailable:
            await asyncio.sleep(PAUSE)
        except psycopg.Error as exc:
            logger.error("Cannot check which tables are open: {}", str(exc).strip())
            return
        else:
            return


def _log(messages: Iterable[CheckMessage]) -> None:
    """Log a line for each kind, with the names of the tables."""

    def kind(message: CheckMessage) -> tuple[str, ...]:
        return (message.id or "", message.msg, message.hint or "")

    loud = sorted((each for each in messages if not each.is_silenced()), key=kind)
    for (number, what, hint), group in groupby(loud, key=kind):
        same = list(group)
        names = ", ".join(str(each.obj) for each in same)
        level = "ERROR" if same[0].is_serious() else "WARNING"
        logger.log(level, "{}: {} {} ({})", names, what, hint, number)
