"""Readiness asks the database each time whether it is what this code needs."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from django.db import migrations
from django.db.migrations.loader import MigrationLoader
from psycopg.errors import DiskFull

from megapolis import asgi
from megapolis.database import outages, readiness
from megapolis.database.errors import translated
from megapolis.http import health
from tests.megapolis.asgi_request import AsgiRequest

READ_ONLY = "ALTER DATABASE {0} SET default_transaction_read_only = on"
RESET = "ALTER DATABASE {0} RESET default_transaction_read_only"


@pytest.fixture(autouse=True)
def unknown_readiness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "readiness", health.Readiness())


async def is_ready() -> bool:
    return (await AsgiRequest("/readyz").run(asgi.application)).status == 200


@asynccontextmanager
async def changed(observer: Any, change: str, back: str) -> AsyncIterator[None]:
    await observer.execute(change)
    try:
        yield
    finally:
        await observer.execute(back)


class TestSchema:
    @pytest.mark.parametrize(
        ("change", "back", "named"),
        [
            (
                "UPDATE django_migrations SET app = 'gone' WHERE app = 'widgets'",
                "UPDATE django_migrations SET app = 'widgets' WHERE app = 'gone'",
                "widgets.0001_initial",
            ),
            (
                "ALTER TABLE widgets_widget RENAME TO gone",
                "ALTER TABLE gone RENAME TO widgets_widget",
                "widgets_widget.id, widgets_widget.name",
            ),
            (
                "ALTER TABLE accounts_user RENAME email TO gone",
                "ALTER TABLE accounts_user RENAME gone TO email",
                "accounts_user.email",
            ),
            (
                "ALTER TABLE accounts_user_groups RENAME TO gone",
                "ALTER TABLE gone RENAME TO accounts_user_groups",
                "accounts_user_groups.id",
            ),
            (
                "ALTER TABLE widgets_widget SET SCHEMA information_schema",
                "ALTER TABLE information_schema.widgets_widget SET SCHEMA public",
                "widgets_widget.id",
            ),
            (
                "ALTER TABLE django_migrations RENAME TO gone",
                "ALTER TABLE gone RENAME TO django_migrations",
                "django_migrations",
            ),
        ],
    )
    async def test_that_changes_after_the_start_is_noticed_and_so_is_its_return(
        self, observer: Any, log: list[str], change: str, back: str, named: str
    ) -> None:
        assert await is_ready()

        async with changed(observer, change, back):
            assert not await is_ready()
            assert any("Not ready: " in line and named in line for line in log)

        assert await is_ready()

    @pytest.mark.parametrize(
        ("change", "back"),
        [
            (
                "INSERT INTO django_migrations VALUES (999, 'widgets', '0999_newer', now())",
                "DELETE FROM django_migrations WHERE id = 999",
            ),
            (
                "INSERT INTO django_migrations VALUES (999, 'gadgets', '0001_initial', now())",
                "DELETE FROM django_migrations WHERE id = 999",
            ),
            ("ALTER TABLE widgets_widget ADD newer text", "ALTER TABLE widgets_widget DROP newer"),
            ("CREATE TABLE newer ()", "DROP TABLE newer"),
        ],
    )
    async def test_that_is_newer_than_the_code_is_no_reason(
        self, observer: Any, change: str, back: str
    ) -> None:
        async with changed(observer, change, back):
            assert await is_ready()


class TestSquashedMigration:
    class Squashed(migrations.Migration):
        replaces = [("widgets", "0001_initial"), ("widgets", "0002_old")]

    @pytest.fixture(autouse=True)
    def squashed(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """The code has a squashed migration, and one of the two that it replaces."""
        disk = {
            ("widgets", "0001_initial"): migrations.Migration("0001_initial", "widgets"),
            ("widgets", "0001_squashed"): self.Squashed("0001_squashed", "widgets"),
        }

        def build_graph(loader: MigrationLoader) -> None:
            loader.disk_migrations = disk

        monkeypatch.setattr(MigrationLoader, "build_graph", build_graph)
        readiness.expected_migrations.cache_clear()
        yield
        readiness.expected_migrations.cache_clear()

    @pytest.mark.parametrize(
        ("applied", "missing"),
        [
            ({"0001_squashed"}, []),
            ({"0001_initial", "0002_old"}, []),
            ({"0001_initial", "0002_old", "0001_squashed"}, []),
            ({"0001_initial"}, ["widgets.0001_squashed"]),
            (set(), ["widgets.0001_initial", "widgets.0001_squashed"]),
        ],
    )
    def test_and_those_that_it_replaces_stand_for_each_other(
        self, applied: set[str], missing: list[str]
    ) -> None:
        assert readiness._unapplied({("widgets", name) for name in applied}) == missing


class TestWriting:
    async def test_is_needed_and_is_noticed_when_it_is_possible_again(
        self, open_pool: Any, observer: Any, log: list[str]
    ) -> None:
        name = observer.info.dbname
        async with changed(observer, READ_ONLY.format(name), RESET.format(name)):
            await open_pool(size=3)
            assert not await is_ready()
            assert any("Not ready: the database does not accept writes" in x for x in log)

        assert await is_ready()

    async def test_that_fails_although_reading_works_makes_it_unready_until_one_succeeds(
        self, db: None, log: list[str]
    ) -> None:
        translated(DiskFull("could not extend file"))
        assert not await is_ready()
        assert not await is_ready()
        assert any("Not ready: statements fail with 53100" in line for line in log)

        outages.end()
        assert await is_ready()
