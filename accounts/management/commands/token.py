"""Print one of our own tokens, to try the API without Supabase."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import tokens
from accounts.assurance import required_level
from accounts.management.users import find_or_create_user
from accounts.models import ApiSession


class Command(BaseCommand):
    """Create the user if need be, start a session, and print its token and nothing else."""

    help = "Print an access token of this API for USER."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument(
            "user",
            metavar="USER",
            help="the email of a local account, which is created if there is none, or the id or "
            "the Supabase id of any user",
        )
        parser.add_argument("--staff", action="store_true", help="make the user staff")

    def handle(self, *, user: str, staff: bool, **options: Any) -> None:
        """Print the token."""
        _require_no_second_factor(is_staff=staff)
        found = find_or_create_user(user)
        _require_no_second_factor(is_staff=found.is_staff or found.is_superuser)
        if not found.is_active:
            raise CommandError("The user is deactivated.")
        if staff and not found.is_staff:
            found.is_staff = True
            found.save(update_fields=["is_staff", "updated_at"])
        session = ApiSession.objects.create(user=found, expires_at=tokens.expiry())
        token = tokens.issue(
            user_id=found.pk,
            email=found.email,
            session_key=session.key,
            expires_at=session.expires_at,
        )
        self.stdout.write(token)


def _require_no_second_factor(*, is_staff: bool) -> None:
    """Raise CommandError where each request with the token would be rejected."""
    if required_level(is_staff=is_staff) > 1:
        raise CommandError(
            "SUPABASE_REQUIRE_AAL2 requires a second factor of this user, and a command has none. "
            "Sign in with Supabase, and exchange the token."
        )
