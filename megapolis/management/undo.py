"""Which migrations `downgrade` undoes, and what is lost with them.

Django's own `migrate APP NAME` undoes everything that is not an ancestor of NAME, often more than
one migration. Here each step is exactly one.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from django.core.management.base import CommandError
from django.db import connection
from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations import (
    AddField,
    CreateModel,
    RunPython,
    RunSQL,
    SeparateDatabaseAndState,
)
from django.db.migrations.operations.base import Operation
from django.db.migrations.recorder import MigrationRecorder

type Key = tuple[str, str]

DROP: Final = re.compile(
    r'^(?:DROP|ALTER) TABLE "([^"]+)"(?: CASCADE;| DROP COLUMN "([^"]+)")', re.MULTILINE
)
"""The table and the column, or an empty string, of a statement that drops them."""
COUNTED: Final = 100_000
"""Rows of a table that are counted. For a larger table the planner's estimate is shown."""


@dataclass(frozen=True)
class Step:
    """A migration to undo, and what that does to the database."""

    migration: Migration
    effects: Sequence[str]
    loses_data: bool
    """True if rows are lost, or may be lost by code of the migration."""

    def __str__(self) -> str:
        lines = self.effects or ["changes nothing in the database"]
        return "\n  ".join([f"{self.migration} will be undone:", *lines])


def plan_steps(loader: MigrationLoader, *, labels: set[str], count: int) -> list[Step]:
    """Return the newest `count` applied migrations of these apps. `CommandError` if one cannot go.

    Nothing is changed.
    """
    newest = _newest_first(loader, labels)
    if count > len(newest):
        raise CommandError(
            f"Cannot undo {count}: {len(newest)} migrations of {', '.join(sorted(labels))} are "
            "applied. `python manage.py showmigrations` lists them."
        )
    applied = set(loader.applied_migrations)
    migrations = []
    for key in newest[:count]:
        applied.discard(key)
        migrations.append(_undoable(loader, key, applied))
    return [_step(loader, migration) for migration in migrations]


def way_back(loader: MigrationLoader, migration: Migration) -> str:
    """Return Django's command that undoes everything after a parent of the migration."""
    parents = loader.graph.node_map[(migration.app_label, migration.name)].parents
    own = sorted(parent.key[1] for parent in parents if parent.key[0] == migration.app_label)
    return f"python manage.py migrate {migration.app_label} {own[0] if own else 'zero'}"


def _newest_first(loader: MigrationLoader, labels: set[str]) -> list[Key]:
    """Return the applied migrations, a squashed one in place of those that it replaces.

    One that is recorded without a file is among them.
    """
    replaced = {
        old: key
        for key, squashed in loader.replacements.items()
        if key in loader.graph.nodes
        for old in squashed.replaces
    }
    recorder = MigrationRecorder(connection)
    if not recorder.has_table():
        return []
    rows = recorder.migration_qs.filter(app__in=labels)
    recorded = rows.order_by("-applied", "-id").values_list("app", "name")
    keys = dict.fromkeys(replaced.get(key, key) for key in recorded)
    return [key for key in keys if key in loader.graph.nodes or key not in loader.disk_migrations]


def _undoable(loader: MigrationLoader, key: Key, applied: set[Key]) -> Migration:
    """Return the migration, or raise `CommandError` if it cannot be undone alone."""
    name = ".".join(key)
    migration: Migration | None = loader.graph.nodes.get(key)
    if migration is None:
        raise CommandError(
            f"{name} was applied last, and its file is not here: undo it on the branch that has it."
        )
    dependents = sorted(
        ".".join(child.key) for child in loader.graph.node_map[key].children if child.key in applied
    )
    if dependents:
        raise CommandError(
            f"{name} cannot be undone alone. Applied migrations depend on it: "
            f"{', '.join(dependents)}. `{way_back(loader, migration)}` undoes them, too, and does "
            "not ask; see it first with `--plan`."
        )
    for operation in _database_operations(migration.operations):
        if not operation.reversible:
            raise CommandError(
                f"{name} cannot be undone: it has no reverse for {operation.describe()!r}. "
                "Give the operation a reverse, or write a new migration that changes it back."
            )
    return migration


def _database_operations(operations: Iterable[Operation]) -> Iterator[Operation]:
    for operation in operations:
        if isinstance(operation, SeparateDatabaseAndState):
            yield from _database_operations(operation.database_operations)
        else:
            yield operation


def _step(loader: MigrationLoader, migration: Migration) -> Step:
    operations = list(_database_operations(migration.operations))
    sql = _sql(loader, migration, operations)
    dropped = dict.fromkeys(DROP.findall(sql or ""))
    tables = {table for table, column in dropped if not column}
    losses = {
        (table, column): _rows(table)
        for table, column in dropped
        if not column or table not in tables
    }
    others = [each for each in operations if not isinstance(each, CreateModel | AddField)]
    return Step(
        migration,
        effects=[
            *(_loss(*names, rows=rows) for names, rows in losses.items()),
            *(f"undoes: {operation.describe()}" for operation in others),
            *(["may drop more: Django cannot tell before it runs"] if sql is None else []),
        ],
        loses_data=sql is None
        or any(losses.values())
        or any(isinstance(each, RunPython | RunSQL) for each in operations),
    )


def _sql(
    loader: MigrationLoader, migration: Migration, operations: Iterable[Operation]
) -> str | None:
    """Return the SQL that undoes the migration, or None if Django cannot tell it in advance."""
    nested = [each for each in operations if each not in migration.operations]
    if any(isinstance(each, RunPython) for each in nested):
        return None  # Django would run the code.
    try:
        return "\n".join(loader.collect_sql([(migration, True)]))
    except ValueError:
        return None  # It needs a constraint that a later step brings back.


def _loss(table: str, column: str, *, rows: int | None) -> str:
    name = f"column {table}.{column}" if column else f"table {table}"
    if rows is None:
        return f"drops {name}, which does not exist"
    about = "about " if rows > COUNTED else ""
    return f"drops {name} ({about}{rows:,} row{'s' * (rows != 1)})"


def _rows(table: str) -> int | None:
    """Return the number of rows, or None if there is no such table."""
    name = connection.ops.quote_name(table)
    with connection.cursor() as cursor:
        cursor.execute("SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass(%s)", [name])
        row = cursor.fetchone()
        if row is None:
            return None
        # The name is quoted, and comes from a migration.
        count = f"SELECT count(*) FROM (SELECT FROM {name} LIMIT {COUNTED + 1}) AS counted"  # noqa: S608
        cursor.execute(count)
        counted, estimate = int(cursor.fetchone()[0]), int(row[0])
    return counted if counted <= COUNTED else max(counted, estimate)
