"""`manage.py` while the database cannot do what a command needs: a sentence, not a traceback."""

import asyncio
from typing import Any

import pytest

from tests.processes import database_url, development, manage

READ_ONLY = "&options=-c%20default_transaction_read_only%3Don"
AWAY = {"DATABASE_URL": "postgresql://megapolis:password@127.0.0.1:1/megapolis"}

COMMANDS = [
    ("token", "ada@example.com"),
    ("clearsessions",),
    ("createsuperuser", "--noinput", "--email", "ada@example.com"),
    ("migrate", "widgets", "zero"),
    ("downgrade", "widgets", "-1", "--yes"),
]


async def run(*arguments: str, **changes: str) -> Any:
    return await asyncio.to_thread(manage, *arguments, given=development() | changes)


@pytest.fixture(autouse=True)
async def migrated(db: None) -> None:
    """There are tables, and a session that has expired."""
    from megapolis import database

    await database.fetch(
        b"INSERT INTO django_session VALUES ('expired', '', now() - interval '1 day')",
        [],
        reads=False,
    )


@pytest.mark.parametrize("arguments", COMMANDS)
async def test_a_read_only_database_is_a_sentence(arguments: tuple[str, ...]) -> None:
    done = await run(*arguments, DATABASE_URL=database_url() + READ_ONLY)

    assert done.returncode == 1
    assert "read-only transaction" in done.stderr
    assert "Traceback" not in done.stderr
    assert "initdb" not in done.stderr


@pytest.mark.parametrize("arguments", [COMMANDS[0], COMMANDS[-1]])
async def test_a_database_that_is_away_is_a_sentence(arguments: tuple[str, ...]) -> None:
    done = await run(*arguments, **AWAY)

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "initdb" in done.stderr or "Cannot reach PostgreSQL" in done.stderr


async def test_the_traceback_is_shown_on_request() -> None:
    done = await run("clearsessions", "--traceback", **AWAY)

    assert "Traceback" in done.stderr


async def test_a_mistake_in_a_command_keeps_its_traceback() -> None:
    done = await run("shell", "-c", "1 / 0")

    assert "ZeroDivisionError" in done.stderr
    assert "Traceback" in done.stderr
