"""`manage.py downgrade`: exactly the newest migrations, named first, with what they drop."""

import asyncio
import io
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from megapolis import environment

type Downgrade = Callable[..., Any]

FILE = """
from importlib import import_module
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import connection, migrations, models

class Migration(migrations.Migration):
    dependencies = [{dependencies}]
    {attributes}
    operations = [{operations}]
"""
INITIAL = "from importlib import import_module\nMigration = import_module('{0}').Migration\n"
ADD_SIZE = "migrations.AddField('widget', 'size', models.IntegerField(null=True))"
ADD_COLOR = "migrations.AddField('widget', 'color', models.TextField(null=True))"
ADD_PART = """migrations.CreateModel('Part', [
    ('id', models.BigAutoField(primary_key=True)),
    ('widgets', models.ManyToManyField('widgets.Widget')),
])"""
ACCOUNTS = sorted((environment.BASE_DIR / "accounts" / "migrations").glob("0*.py"))


class TTY(io.StringIO):
    def isatty(self) -> bool:
        return True


class Project:
    """A migrated database of the test's own, and a folder for further migrations of `widgets`."""

    def __init__(self, folder: Path, name: str, package: str) -> None:
        self.folder = folder
        self.name = name
        self.package = package
        self.printed = ""

    def add(
        self, name: str, *operations: str, after: tuple[str, ...] = (), attributes: str = ""
    ) -> None:
        """Write a migration of `widgets`."""
        dependencies = ", ".join(f"('widgets', '{parent}')" for parent in after)
        text = FILE.format(
            dependencies=dependencies, operations=", ".join(operations), attributes=attributes
        )
        (self.folder / f"{name}.py").write_text(text)

    async def run(self, *arguments: str, **options: Any) -> str:
        """Return what the command printed."""
        return await asyncio.to_thread(self._call, *arguments, **options)

    def _call(self, *arguments: str, **options: Any) -> str:
        for module in [name for name in sys.modules if name.startswith(self.package)]:
            del sys.modules[module]
        printed = io.StringIO()
        try:
            call_command(*arguments, stdout=printed, **options)
        finally:
            connections.close_all()
            self.printed = printed.getvalue()
        return self.printed

    async def execute(self, sql: str) -> list[Any]:
        parameters = _parameters() | {"dbname": self.name}
        async with await psycopg.AsyncConnection.connect(**parameters) as connection:
            cursor = await connection.execute(sql.encode())
            return await cursor.fetchall() if cursor.description else []

    async def applied(self) -> list[str]:
        rows = await self.execute("SELECT name FROM django_migrations WHERE app = 'widgets'")
        return sorted(name for (name,) in rows)

    async def columns(self) -> set[str]:
        rows = await self.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_name = 'widgets_widget'"
        )
        return {name for (name,) in rows}


def _parameters() -> dict[str, Any]:
    from megapolis.database import connection as factory

    return factory.connection_parameters() | {"prepare_threshold": None}


@pytest.fixture(scope="module")
def template(django_db_setup: None, django_db_blocker: Any) -> Iterator[str]:
    """The name of a migrated database that nobody is connected to."""
    name = f"template_{uuid4().hex[:8]}"
    with server() as admin:
        admin.execute(f"CREATE DATABASE {name}".encode())
        with pytest.MonkeyPatch.context() as monkeypatch, django_db_blocker.unblock():
            monkeypatch.setitem(connections.settings["default"], "NAME", name)
            with ThreadPoolExecutor(1) as thread:
                thread.submit(migrate).result()
        yield name
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def migrate() -> None:
    try:
        call_command("migrate", verbosity=0)
    finally:
        connections.close_all()


def server() -> "psycopg.Connection[Any]":
    """Return a connection that makes and drops databases."""
    return psycopg.connect(**_parameters() | {"dbname": "postgres", "autocommit": True})


@pytest.fixture
async def project(
    template: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
    django_db_blocker: Any,
) -> AsyncIterator[Project]:
    name = f"downgrade_{uuid4().hex[:8]}"
    package = f"migrations_{uuid4().hex[:8]}"
    folder = tmp_path / package
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "0001_initial.py").write_text(INITIAL.format("widgets.migrations.0001_initial"))
    with server() as admin, django_db_blocker.unblock():
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setitem(connections.settings["default"], "NAME", name)
        settings.MIGRATION_MODULES = {"widgets": package}
        yield Project(folder, name, package)
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "ENVIRONMENT", "production")


def type_in(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Have somebody at a terminal who types this."""
    monkeypatch.setattr(sys, "stdin", TTY(f"{text}\n"))


async def add_widgets(project: Project, number: int) -> None:
    await project.execute("INSERT INTO accounts_user (email, password) VALUES ('a@b.c', '')")
    await project.execute(
        "INSERT INTO widgets_widget (name, owner_id) SELECT 'w' || n, id "
        f"FROM accounts_user, generate_series(1, {number}) AS n"
    )


class TestWhatIsUndone:
    async def test_is_one_migration_which_is_named_with_what_it_drops(
        self, project: Project
    ) -> None:
        project.add("0002_size", ADD_SIZE, after=("0001_initial",))
        await project.run("migrate")
        await add_widgets(project, 3)

        printed = await project.run("downgrade", "-1")

        assert printed == (
            "widgets.0002_size will be undone:\n"
            "  drops column widgets_widget.size (3 rows)\n"
            "Undone: widgets.0002_size.\n"
        )
        assert await project.applied() == ["0001_initial"]
        assert "size" not in await project.columns()

    async def test_names_tables_with_those_of_many_to_many_fields(self, project: Project) -> None:
        project.add("0002_part", ADD_PART, after=("0001_initial",))
        await project.run("migrate")
        await project.execute("INSERT INTO widgets_part DEFAULT VALUES")

        printed = await project.run("downgrade", "widgets", "-1")

        assert "drops table widgets_part (1 row)\n" in printed
        assert "drops table widgets_part_widgets (0 rows)\n" in printed

    async def test_says_so_of_a_large_table_from_the_planners_estimate(
        self, project: Project
    ) -> None:
        project.add("0002_part", ADD_PART, after=("0001_initial",))
        await project.run("migrate")
        await project.execute("INSERT INTO widgets_part SELECT FROM generate_series(1, 150000)")
        await project.execute("ANALYZE widgets_part")

        assert "widgets_part (about 150,000 rows)" in await project.run("downgrade", "-1")

    async def test_of_a_table_that_somebody_has_dropped_is_said_and_an_error(
        self, project: Project
    ) -> None:
        project.add("0002_part", ADD_PART, after=("0001_initial",))
        await project.run("migrate")
        await project.execute("DROP TABLE widgets_part CASCADE")

        with pytest.raises(CommandError, match="was not undone"):
            await project.run("downgrade", "-1")
        assert "0002_part" in await project.applied()

    async def test_of_several_steps_is_planned_and_shown_before_the_first(
        self, project: Project
    ) -> None:
        project.add("0002_size", ADD_SIZE, after=("0001_initial",))
        project.add("0003_color", ADD_COLOR, after=("0002_size",))
        await project.run("migrate")

        printed = await project.run("downgrade", "widgets", "-2")

        assert [line.split()[0] for line in printed.splitlines() if line[0] != " "] == [
            "widgets.0003_color", "widgets.0002_size", "Undone:", "Undone:",
        ]  # fmt: skip
        assert await project.applied() == ["0001_initial"]

    async def test_may_be_a_step_whose_constraint_a_later_step_brings_back(
        self, project: Project
    ) -> None:
        together = "migrations.AlterUniqueTogether('widget', {})"
        project.add("0002_pair", together.format("{('name', 'owner')}"), after=("0001_initial",))
        project.add("0003_no_pair", together.format("set()"), after=("0002_pair",))
        await project.run("migrate")

        printed = await project.run("downgrade", "-2")

        assert printed.count("may drop more") == 1
        assert await project.applied() == ["0001_initial"]

    async def test_is_only_the_merge_and_then_only_one_branch(self, project: Project) -> None:
        project.add("0002_size", ADD_SIZE, after=("0001_initial",))
        project.add("0002_color", ADD_COLOR, after=("0001_initial",))
        project.add("0003_merge", after=("0002_color", "0002_size"))
        await project.run("migrate")

        assert "changes nothing in the database" in await project.run("downgrade", "-1")
        assert await project.applied() == ["0001_initial", "0002_color", "0002_size"]
        assert {"size", "color"} <= await project.columns()

        await project.run("downgrade", "-1")
        assert len(await project.applied()) == 2
        assert len({"size", "color"} & await project.columns()) == 1

        await project.run("downgrade", "-1")
        assert await project.applied() == ["0001_initial"]

        await project.run("migrate")
        await project.run("downgrade", "widgets", "-2")
        assert len(await project.applied()) == 2

    async def test_is_a_squashed_migration_as_a_whole(self, project: Project) -> None:
        project.add("0002_size", ADD_SIZE, after=("0001_initial",))
        project.add("0003_color", ADD_COLOR, after=("0002_size",))
        await project.run("migrate")
        replaces = "replaces = [('widgets', '0002_size'), ('widgets', '0003_color')]"
        project.add(
            "0002_squashed", ADD_SIZE, ADD_COLOR, after=("0001_initial",), attributes=replaces
        )

        printed = await project.run("downgrade", "-1")

        assert printed.startswith("widgets.0002_squashed will be undone:")
        assert await project.applied() == ["0001_initial"]
        assert not {"size", "color"} & await project.columns()

    async def test_is_what_happens_in_the_database_and_not_in_djangos_state(
        self, project: Project
    ) -> None:
        apart = (
            "migrations.SeparateDatabaseAndState("
            f"database_operations=[{ADD_SIZE}], state_operations=[{ADD_COLOR}])"
        )
        project.add("0002_apart", apart, after=("0001_initial",))
        await project.run("migrate")

        printed = await project.run("downgrade", "-1")

        assert "widgets_widget.size" in printed
        assert "color" not in printed

    async def test_sends_the_signals_of_djangos_migrate(self, project: Project) -> None:
        from django.db.models.signals import post_migrate

        project.add("0002_size", ADD_SIZE, after=("0001_initial",))
        await project.run("migrate")
        plans: list[Any] = []

        def receive(plan: Any, **_: Any) -> None:
            plans.append([(str(migration), backwards) for migration, backwards in plan])

        post_migrate.connect(receive)
        await project.run("downgrade", "-1")
        post_migrate.disconnect(receive)

        assert {tuple(plan) for plan in plans} == {(("widgets.0002_size", True),)}


class TestRejection:
    """Nothing is changed."""

    @pytest.fixture(autouse=True)
    async def nothing_changed(self, project: Project) -> AsyncIterator[None]:
        project.add("0002_size", ADD_SIZE, after=("0001_initial",))
        await project.run("migrate")
        before = await project.execute("SELECT * FROM django_migrations ORDER BY id")
        yield
        assert await project.execute("SELECT * FROM django_migrations ORDER BY id") == before
        assert "size" in await project.columns()

    @pytest.mark.parametrize(
        "target",
        [
            ("-0",),
            ("widgets", "-0"),
            ("-1", "-1"),
            ("1",),
            ("widgets",),
            ("-١",),
            ("-01",),
            ("-1.5",),
            ("widgets", "accounts", "-1"),
            ("",),
        ],
    )
    async def test_of_what_is_no_count(self, project: Project, target: tuple[str, ...]) -> None:
        with pytest.raises(CommandError, match="Say how many to undo"):
            await project.run("downgrade", *target)

    @pytest.mark.parametrize("app", ["nothing", "auth", "Widgets"])
    async def test_of_an_app_that_is_not_ours(self, project: Project, app: str) -> None:
        with pytest.raises(CommandError, match=r"is not one of our apps: accounts, .*widgets"):
            await project.run("downgrade", app, "-1")

    @pytest.mark.parametrize("target", [("widgets", "-3"), ("-99",), ("-999999999",)])
    async def test_of_more_than_are_applied(
        self, project: Project, target: tuple[str, ...]
    ) -> None:
        with pytest.raises(CommandError, match="showmigrations"):
            await project.run("downgrade", *target)

    async def test_where_no_migration_was_ever_applied(self, project: Project) -> None:
        await project.execute("ALTER TABLE django_migrations RENAME TO gone")
        try:
            with pytest.raises(CommandError, match="Cannot undo 1: 0 migrations"):
                await project.run("downgrade", "-1", "--yes")
        finally:
            await project.execute("ALTER TABLE gone RENAME TO django_migrations")

    async def test_of_one_that_another_app_depends_on(self, project: Project) -> None:
        with pytest.raises(CommandError, match=r"accounts\.0001_initial cannot be undone alone"):
            await project.run("downgrade", "accounts", f"-{len(ACCOUNTS)}", "--yes")

    async def test_of_one_whose_file_is_missing(self, project: Project) -> None:
        project.add("0003_color", ADD_COLOR, after=("0002_size",))
        await project.run("migrate")
        (project.folder / "0003_color.py").unlink()
        with pytest.raises(CommandError, match=r"widgets\.0003_color .* is not here"):
            await project.run("downgrade", "-1", "--yes")
        await project.execute("DELETE FROM django_migrations WHERE name = '0003_color'")

    @pytest.mark.parametrize(
        "operation",
        [
            "migrations.RunPython(lambda *_: None)",
            "migrations.RunSQL('SELECT 1')",
            "migrations.SeparateDatabaseAndState([migrations.RunSQL('SELECT 1')])",
        ],
    )
    async def test_of_an_irreversible_one_although_it_is_the_second(
        self, project: Project, operation: str
    ) -> None:
        project.add("0003_code", operation, after=("0002_size",))
        project.add("0004_color", ADD_COLOR, after=("0003_code",))
        await project.run("migrate")
        with pytest.raises(CommandError, match=r"widgets\.0003_code cannot be undone"):
            await project.run("downgrade", "-2", "--yes")
        assert "0004_color" in await project.applied()
        await project.execute(
            "DELETE FROM django_migrations WHERE app = 'widgets' AND name ~ '^000[34]'"
        )

    async def test_in_production_without_a_confirmation_names_the_ways(
        self, project: Project, in_production: None
    ) -> None:
        with pytest.raises(CommandError) as rejection:
            await project.run("downgrade", "widgets", "-1")
        assert "`python manage.py downgrade widgets -1 --yes`" in str(rejection.value)
        assert "`python manage.py migrate widgets 0001_initial`" in str(rejection.value)

    @pytest.mark.parametrize("text", ["no", "", "y", "YES"])
    async def test_by_who_types_anything_but_yes(
        self, project: Project, in_production: None, monkeypatch: pytest.MonkeyPatch, text: str
    ) -> None:
        type_in(monkeypatch, text)
        with pytest.raises(CommandError, match="Nothing was changed"):
            await project.run("downgrade", "-1")

    async def test_by_who_closes_the_terminal(
        self, project: Project, in_production: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "stdin", TTY())
        with pytest.raises(CommandError, match="Nothing was changed"):
            await project.run("downgrade", "-1")


class TestConfirmation:
    async def test_is_typed_or_an_option_in_production(
        self, project: Project, in_production: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        project.add("0002_size", ADD_SIZE, after=("0001_initial",))
        await project.run("migrate")
        await project.run("downgrade", "-1", "--yes")
        assert await project.applied() == ["0001_initial"]

        await project.run("migrate")
        type_in(monkeypatch, "yes")
        await project.run("downgrade", "-1")
        assert await project.applied() == ["0001_initial"]

    async def test_shows_after_a_half_failed_migration_that_it_is_the_one_before(
        self, project: Project, in_production: None
    ) -> None:
        """What failed was not recorded, so the newest is the one that made the table."""
        await add_widgets(project, 2)
        project.add(
            "0002_broken",
            ADD_SIZE,
            "migrations.RunSQL('nonsense')",
            after=("0001_initial",),
            attributes="atomic = False",
        )
        with pytest.raises(CommandError, match="The migration failed"):
            await project.run("migrate")

        with pytest.raises(CommandError, match="needs a confirmation"):
            await project.run("downgrade", "widgets", "-1")
        assert project.printed == (
            "widgets.0001_initial will be undone:\n  drops table widgets_widget (2 rows)\n"
        )
        assert await project.execute("SELECT count(*) FROM widgets_widget") == [(2,)]

    async def test_is_asked_elsewhere_only_where_data_would_be_lost(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        project.add("0002_size", ADD_SIZE, after=("0001_initial",))
        await project.run("migrate")
        type_in(monkeypatch, "no")
        await project.run("downgrade", "-1")
        assert await project.applied() == ["0001_initial"]

        await project.run("migrate")
        await add_widgets(project, 1)
        with pytest.raises(CommandError, match="Nothing was changed"):
            await project.run("downgrade", "-1")

    async def test_is_asked_where_code_runs_whose_effect_is_unknown(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sql = "migrations.RunSQL('CREATE TABLE extra ()', 'DROP TABLE extra')"
        project.add("0002_extra", sql, after=("0001_initial",))
        await project.run("migrate")
        type_in(monkeypatch, "no")
        with pytest.raises(CommandError, match="Nothing was changed"):
            await project.run("downgrade", "-1")

    @pytest.mark.parametrize("nested", ["{}", "migrations.SeparateDatabaseAndState([{}])"])
    async def test_comes_before_any_code_runs(
        self, project: Project, monkeypatch: pytest.MonkeyPatch, nested: str
    ) -> None:
        code = "migrations.RunPython(migrations.RunPython.noop, lambda *_: 1 / 0)"
        project.add("0002_code", nested.format(code), after=("0001_initial",))
        await project.run("migrate")
        type_in(monkeypatch, "no")
        with pytest.raises(CommandError, match="Nothing was changed"):
            await project.run("downgrade", "-1")


class TestFailure:
    async def test_of_the_database_is_a_sentence(self, project: Project) -> None:
        sql = "migrations.RunSQL('SELECT 1', 'nonsense')"
        project.add("0002_sql", sql, after=("0001_initial",))
        await project.run("migrate")

        with pytest.raises(CommandError, match=r"was not undone: syntax error"):
            await project.run("downgrade", "-1")
        assert "0002_sql" in await project.applied()
