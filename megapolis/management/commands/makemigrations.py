"""Django's `makemigrations`, which can be told in words what changed."""

from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.core.management.commands import makemigrations
from django.utils.text import slugify


class Words(str):
    """What follows the number in a migration's name, and so may begin with a digit."""

    __slots__ = ()

    def isidentifier(self) -> bool:
        """Accept all: Django rejects invalid names itself."""
        return True


class Command(makemigrations.Command):
    """Add `-m "add widget size"`, which becomes the name `0002_add_widget_size`."""

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        super().add_arguments(parser)
        parser.add_argument("-m", "--message", help="what changes, in words; names the migration")

    def handle(self, *app_labels: str, message: str | None = None, **options: Any) -> None:
        """Turn the message into a name."""
        if message is not None:
            options["name"] = Words(slugify(message).replace("-", "_"))
            if not options["name"]:
                raise CommandError("The message names a file: say it with ASCII letters or digits.")
        super().handle(*app_labels, **options)
