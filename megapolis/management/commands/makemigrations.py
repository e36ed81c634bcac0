"""Django's `makemigrations`, which can be told in words what changed."""

from typing import Any

from django.core.management.base import CommandParser
from django.core.management.commands import makemigrations
from django.utils.text import slugify


class Command(makemigrations.Command):
    """Add `-m "add widget size"`, which becomes the name `0002_add_widget_size`."""

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        super().add_arguments(parser)
        parser.add_argument("-m", "--message", help="what changes, in words; names the migration")

    def handle(self, *app_labels: str, message: str | None = None, **options: Any) -> None:
        """Turn the message into a name."""
        if message:
            options["name"] = slugify(message).replace("-", "_")
        super().handle(*app_labels, **options)
