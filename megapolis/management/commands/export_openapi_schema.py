"""Ninja's command, for our API."""

from django.core.management.base import CommandParser
from ninja.management.commands.export_openapi_schema import Command as NinjaCommand


class Command(NinjaCommand):
    """Write the OpenAPI document; `make openapi` keeps it in docs/openapi.json."""

    help = "Write the OpenAPI document."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare Ninja's arguments, which need not be given."""
        super().add_arguments(parser)
        parser.set_defaults(api="megapolis.api.api", indent=2, sort_keys=True)
