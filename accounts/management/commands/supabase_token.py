"""Print a Supabase access token of the stand-in issuer, to try the exchange in development."""

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.supabase.stand_in import stand_in_issuer


class Command(BaseCommand):
    """Print the token and nothing else."""

    help = (
        "Print a Supabase access token for EMAIL, signed by the stand-in issuer. "
        "POST /auth/token accepts it in development only."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("email", metavar="EMAIL")
        parser.add_argument("--aal2", action="store_true", help="as after a second factor")

    def handle(self, *, email: str, aal2: bool, **options: Any) -> None:
        """Print the token."""
        try:
            token = stand_in_issuer().token(email, aal2=aal2)
        except (ImproperlyConfigured, ValueError) as exc:
            raise CommandError(str(exc)) from None
        self.stdout.write(token)
