#!/usr/bin/env python
"""The developer's entry point: `python manage.py help` lists the commands."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line


def main() -> None:
    """Run a command; a bad configuration ends it with the reason instead of a traceback."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "megapolis.settings")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as exc:
        sys.exit(f"manage.py: {exc}")


if __name__ == "__main__":
    main()
