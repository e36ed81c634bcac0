"""Undo migrations of our own apps, the newest first."""

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from megapolis.apps import own_apps


class Command(BaseCommand):
    """`downgrade -1` undoes the newest migration, `downgrade widgets -1` the newest of one app."""

    help = "Undo the newest applied migrations of our own apps, or of one: downgrade [APP] -N."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("target", nargs="+", metavar="[APP] -N", help="how many, as -1")

    def handle(self, *, target: list[str], verbosity: int, **options: Any) -> None:
        """Undo them one by one, so that each is the newest at its time."""
        *labels, steps = target
        if len(labels) > 1 or not steps.startswith("-") or not steps[1:].isdigit():
            raise CommandError("Say how many to undo: `downgrade -1` or `downgrade widgets -1`.")
        own = {config.label for config in own_apps()}
        if not set(labels) <= own:
            raise CommandError(f"{labels[0]!r} is not one of our apps: {', '.join(sorted(own))}.")
        for _ in range(int(steps[1:])):
            self._undo_newest(set(labels) or own, verbosity=verbosity)

    def _undo_newest(self, labels: set[str], *, verbosity: int) -> None:
        recorder = MigrationRecorder(connection)
        newest = recorder.migration_qs.filter(app__in=labels).order_by("-applied", "-id").first()
        if newest is None:
            raise CommandError("There is no applied migration to undo.")
        node = MigrationLoader(connection).graph.node_map.get((newest.app, newest.name))
        if node is None:
            raise CommandError(
                f"{newest.app}.{newest.name} was applied last, and its file is not here: "
                "undo it on the branch that has it."
            )
        previous = [parent.key[1] for parent in node.parents if parent.key[0] == newest.app]
        self.stdout.write(f"Undoing {newest.app}.{newest.name}.")
        call_command(
            "migrate",
            newest.app,
            previous[0] if previous else "zero",
            interactive=False,
            verbosity=verbosity,
        )
