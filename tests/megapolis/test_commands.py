"""The commands of the project: what is wrong is a sentence."""

import pytest
from django.core.management import CommandError

from megapolis import database
from tests.conftest import RunCommand


async def execute(sql: bytes) -> None:
    await database.fetch(sql, [], reads=False)


class TestDowngrade:
    @pytest.mark.parametrize("target", [("-1",), ("widgets", "-1")])
    async def test_says_that_the_newest_migration_is_not_on_this_branch(
        self, run_command: RunCommand, target: tuple[str, ...]
    ) -> None:
        await execute(
            b"INSERT INTO django_migrations (app, name, applied) "
            b"VALUES ('widgets', '0099_elsewhere', now())"
        )
        try:
            with pytest.raises(CommandError, match=r"widgets\.0099_elsewhere .* is not here"):
                await run_command("downgrade", *target)
        finally:
            await execute(b"DELETE FROM django_migrations WHERE name = '0099_elsewhere'")
