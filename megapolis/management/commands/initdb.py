"""Bring a database to the point where the service can use it."""

from typing import Any
from warnings import catch_warnings

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, connection

from megapolis.embedded import EmbeddedError
from megapolis.logger.redaction import clean


class Command(BaseCommand):
    """Create the database if it is missing, and migrate it. Safe to repeat."""

    help = "Create the database if it is missing and apply all migrations. Safe to repeat."

    def handle(self, *, verbosity: int, **options: Any) -> None:
        """Do it, and say what comes next."""
        name = connection.settings_dict["NAME"]
        try:
            if self._create_if_missing(name):
                self.stdout.write(f"Created the database {name}.")
        except EmbeddedError as exc:
            raise CommandError(
                f"{exc} If it is beyond repair, move .postgres away: a new, empty one is made."
            ) from None
        except OperationalError as exc:
            reason = clean(" ".join(str(exc).split()))
            raise CommandError(
                f"Cannot reach PostgreSQL, which DATABASE_URL names: {reason}"
            ) from None
        call_command("migrate", interactive=False, verbosity=verbosity)
        self.stdout.write(
            "The database is ready. Next: `python manage.py createsuperuser` for the admin, "
            "`python manage.py run` to serve."
        )

    def _create_if_missing(self, name: str) -> bool:
        try:
            connection.ensure_connection()
        except EmbeddedError:
            raise
        except OperationalError:
            # Only a connection to another database can tell whether this one exists.
            with catch_warnings(action="ignore"), connection._nodb_cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
                if cursor.fetchone():
                    raise
                cursor.execute(f"CREATE DATABASE {connection.ops.quote_name(name)}")
            return True
        return False
