"""Undo migrations of our own apps, the newest first."""

import re
import sys
from collections.abc import Sequence
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.management.sql import emit_post_migrate_signal, emit_pre_migrate_signal
from django.db import DatabaseError, connection
from django.db.migrations import Migration
from django.db.migrations.exceptions import InconsistentMigrationHistory, IrreversibleError
from django.db.migrations.executor import MigrationExecutor

from megapolis import environment
from megapolis.apps import own_apps
from megapolis.management.undo import Step, plan_steps, way_back

COUNT: Final = re.compile(r"-[1-9][0-9]{0,8}\Z")


class Command(BaseCommand):
    """`downgrade -1` undoes the newest migration, `downgrade widgets -1` the newest of one app."""

    help = (
        "Undo the newest applied migrations of our own apps, or of one: downgrade [APP] -N. "
        "It names them and what they drop, and asks first where data would be lost."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("target", nargs="+", metavar="[APP] -N", help="how many, as -1")
        parser.add_argument(
            "--yes", action="store_true", help="do not ask (production without a terminal needs it)"
        )

    def handle(self, *, target: list[str], yes: bool, verbosity: int, **options: Any) -> None:
        """Plan every step, show them all, and then undo them."""
        labels, count = _parse(target)
        executor = MigrationExecutor(connection, self._show_progress if verbosity else None)
        try:
            executor.loader.check_consistent_history(connection)
            steps = plan_steps(executor.loader, labels=labels, count=count)
            for step in steps:
                self.stdout.write(str(step))
            if not yes:
                self._confirm(executor, steps, target=target)
            self._undo(executor, steps, verbosity=verbosity)
        except (InconsistentMigrationHistory, IrreversibleError) as exc:
            raise CommandError(str(exc)) from exc
        except DatabaseError as exc:
            raise CommandError(
                f"The migration was not undone: {str(exc).strip()}\nPostgreSQL has rolled its "
                "changes back, unless it says `atomic = False`; steps before it stay undone. "
                "`python manage.py showmigrations` lists what is applied."
            ) from exc

    def _confirm(
        self, executor: MigrationExecutor, steps: Sequence[Step], *, target: Sequence[str]
    ) -> None:
        """Ask in production, and elsewhere if data would be lost and somebody is there to ask."""
        is_production = environment.ENVIRONMENT == "production"
        if not is_production and not any(step.loses_data for step in steps):
            return
        if sys.stdin.isatty():
            self.stdout.write("Type 'yes' to undo: ", ending="")
            self.stdout.flush()
            if sys.stdin.readline().strip() != "yes":
                raise CommandError("Nothing was changed.")
        elif is_production:
            raise CommandError(
                "Nothing was changed: in production this needs a confirmation. "
                f"`python manage.py downgrade {' '.join(target)} --yes` undoes what is named "
                f"above. `{way_back(executor.loader, steps[-1].migration)}` undoes everything "
                "after a migration that you name, and does not ask; see it first with `--plan`."
            )

    def _undo(self, executor: MigrationExecutor, steps: Sequence[Step], *, verbosity: int) -> None:
        """Undo exactly these, with the signals that Django's `migrate` sends."""
        plan = [(step.migration, True) for step in steps]
        signal: dict[str, Any] = {
            "interactive": False,
            "db": connection.alias,
            "stdout": self.stdout,
            "plan": plan,
        }
        before = executor.migrate(None, plan=[])  # Nothing to do: returns what is applied.
        emit_pre_migrate_signal(verbosity, apps=before.apps, **signal)
        after = executor.migrate(None, plan=plan)
        after.clear_delayed_apps_cache()
        emit_post_migrate_signal(verbosity, apps=after.apps, **signal)

    def _show_progress(self, action: str, migration: Migration | None = None, *_: object) -> None:
        if action == "unapply_success":
            self.stdout.write(f"Undone: {migration}.")


def _parse(target: Sequence[str]) -> tuple[set[str], int]:
    """Return the labels of the apps, and how many migrations to undo."""
    *given, count = target
    if len(given) > 1 or any(label.startswith("-") for label in given) or not COUNT.match(count):
        raise CommandError("Say how many to undo: `downgrade -1` or `downgrade widgets -1`.")
    own = {config.label for config in own_apps()}
    if not set(given) <= own:
        raise CommandError(f"{given[0]!r} is not one of our apps: {', '.join(sorted(own))}.")
    return set(given) or own, int(count[1:])
