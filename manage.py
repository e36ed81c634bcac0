#!/usr/bin/env python
"""The developer's entry point: `python manage.py help` lists the commands."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line
from django.db.utils import OperationalError


def main() -> None:
    """Run a command; without a configuration or a database it ends with the reason.

    With `--traceback` it shows where, too.
    """
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "megapolis.settings")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as exc:
        sys.exit(f"manage.py: {exc}")
    except OperationalError as exc:
        if "--traceback" in sys.argv:
            raise
        from megapolis.redaction import clean  # noqa: PLC0415 - it needs the configuration

        reason = clean(" ".join(str(exc).split()))
        hint = "If there is no database yet, `python manage.py initdb` makes it."
        sys.exit(f"manage.py: {reason}\n{hint}")


if __name__ == "__main__":
    main()
