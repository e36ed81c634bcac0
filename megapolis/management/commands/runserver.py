"""Django's name for `run --reload`, so that the habit serves the same application."""

import re
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

ADDRESS = re.compile(r"(?:(?P<host>.+):)?(?P<port>\d+)")


class Command(BaseCommand):
    """Take Django's argument and options, as far as they apply, and run."""

    help = "The same as `run --reload`, with Django's way to say the address."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("addrport", nargs="?", default="127.0.0.1:8000", help="[host:]port")
        parser.add_argument("--noreload", action="store_true", help="do not restart on changes")

    def handle(self, *, addrport: str, noreload: bool, **options: Any) -> None:
        """Serve."""
        match = ADDRESS.fullmatch(addrport)
        if not match:
            raise CommandError(f"{addrport!r} is not a port or host:port.")
        host = (match["host"] or "127.0.0.1").strip("[]")
        call_command("run", host=host, port=int(match["port"]), reload=not noreload)
