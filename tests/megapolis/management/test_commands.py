"""The commands of the project: what is wrong is a sentence."""

import subprocess
import sys

import pytest
from django.core.management import CommandError

from megapolis import database
from megapolis.environment import BASE_DIR
from tests.conftest import RunCommand
from tests.processes import development, variables


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


class TestMakeMigrations:
    @pytest.mark.parametrize(
        ("message", "name"),
        [
            ("add widget size", "0002_add_widget_size"),
            ("2nd size", "0002_2nd_size"),
            ("Größe, again", "0002_groe_again"),
        ],
    )
    async def test_names_the_migration_in_words(
        self, run_command: RunCommand, message: str, name: str
    ) -> None:
        options = ("--empty", "--dry-run", "-m", message)
        assert f"{name}.py" in await run_command("makemigrations", "widgets", *options)

    @pytest.mark.parametrize("message", ["", "размер", "!"])
    async def test_refuses_words_that_name_no_file(
        self, run_command: RunCommand, message: str
    ) -> None:
        with pytest.raises(CommandError, match="say it with ASCII letters or digits"):
            await run_command("makemigrations", "widgets", "--empty", "--dry-run", "-m", message)


class TestImportWidgets:
    @pytest.mark.parametrize("arguments", [(), ("ada@example.com",)])
    def test_says_how_it_is_called(self, pool: None, arguments: tuple[str, ...]) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "examples.import_widgets", *arguments],
            cwd=BASE_DIR,
            env=variables(development()),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert done.stderr.startswith("Usage: python -m examples.import_widgets EMAIL NAME")
