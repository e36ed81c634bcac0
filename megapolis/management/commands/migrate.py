"""Django's `migrate`, which says what to do when it fails."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.core.management.commands import migrate
from django.db import DatabaseError, connection

from megapolis.logger.redaction import clean


class Command(migrate.Command):
    """Apply migrations; one that fails is undone by PostgreSQL as a whole."""

    def get_check_kwargs(self, options: dict[str, Any]) -> Any:
        """Do not ask the database: what it has open is closed by migrating."""
        return BaseCommand.get_check_kwargs(self, options)

    def handle(self, *args: Any, **options: Any) -> None:
        """Apply them, and turn an error of the database into a sentence."""
        try:
            super().handle(*args, **options)
        except DatabaseError as exc:
            reason = clean(" ".join(str(exc).split()))
            if connection.connection is None:
                raise CommandError(f"Cannot reach PostgreSQL: {reason}") from exc
            raise CommandError(
                f"The migration failed: {reason}\nIt was undone, unless it says `atomic = False`; "
                "what was applied before it stays, and is what `downgrade` would undo. "
                "Correct the file and migrate again. "
                "`python manage.py migrate --traceback` shows where it failed."
            ) from exc
