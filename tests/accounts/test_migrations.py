"""Migrations of tables that have rows."""

from importlib import import_module

import pytest

from tests import factories
from tests.accounts.conftest import rows
from tests.conftest import RunCommand

BEFORE = "0002_sign_in_attempts"
FILE = "SELECT relfilenode FROM pg_class WHERE relname = 'accounts_apisession'"
KEYS = "SELECT count(*), count(DISTINCT key), count(key) FROM accounts_apisession"
INSERT = """
    INSERT INTO accounts_apisession (user_id, expires_at)
    SELECT $1::bigint, now() + interval '1 day' FROM generate_series(1, 7)
"""


class TestSessionKey:
    async def test_is_given_to_each_row_that_there_is_without_rewriting_the_table(
        self, run_command: RunCommand, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        filling = import_module("accounts.migrations.0004_session_key_of_each_row")
        monkeypatch.setattr(filling, "BATCH", 3)
        user = await factories.make_user()
        try:
            await run_command("migrate", "accounts", BEFORE)
            await rows(INSERT, user.id)
            file = await rows(FILE)
        finally:
            await run_command("migrate", "accounts")

        assert await rows(KEYS) == [(7, 7, 7)]
        assert await rows(FILE) == file

    async def test_is_given_to_a_row_that_the_old_code_writes_meanwhile(
        self, run_command: RunCommand
    ) -> None:
        user = await factories.make_user()
        try:
            await run_command("migrate", "accounts", "0003_session_key")
            await rows(INSERT, user.id)
            assert await rows(KEYS) == [(7, 7, 7)]
        finally:
            await run_command("migrate", "accounts")

    async def test_is_made_after_an_attempt_that_failed_half_way(
        self, run_command: RunCommand
    ) -> None:
        """Such an attempt leaves an index behind that is not in force."""
        try:
            await run_command("migrate", "accounts", "0003_session_key")
            await rows("CREATE INDEX session_key ON accounts_apisession (key)")
        finally:
            await run_command("migrate", "accounts")

        constraints = "SELECT contype::text FROM pg_constraint WHERE conname = 'session_key'"
        assert await rows(constraints) == [("u",)]
