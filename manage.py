#!/usr/bin/env python
"""The developer's entry point: `python manage.py help` lists the commands."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line


def main() -> None:
    """Run a command; without a configuration or a database it ends with the reason.

    With `--traceback` it shows where, too.
    """
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "megapolis.settings")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as exc:
        sys.exit(f"manage.py: {exc}")
    except Exception as exc:
        sentence = None if "--traceback" in sys.argv else _outage(exc)
        if sentence is None:
            raise
        sys.exit(f"manage.py: {sentence}")


def _outage(exc: Exception) -> str | None:
    """Return what to say if the database is to blame, and not the command."""
    # They need the configuration.
    from megapolis.database.errors import DatabaseUnavailable, sqlstate_of, state_of  # noqa: PLC0415
    from megapolis.logger.redaction import clean  # noqa: PLC0415

    is_ours = isinstance(exc, DatabaseUnavailable)
    if not is_ours and state_of(exc) is None:
        return None
    cause = (is_ours and exc.__cause__) or exc
    reason = clean(" ".join(str(cause).split()) or str(exc))
    if sqlstate_of(cause) in {None, "42P01", "42703"}:
        reason += "\nIf there is no database yet, `python manage.py initdb` makes it."
    return reason


if __name__ == "__main__":
    main()
