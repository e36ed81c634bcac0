"""Print one of our own tokens, to try the API without Supabase."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import tokens
from accounts.models import ApiSession, User, parse_email


class Command(BaseCommand):
    """Create the user if need be, start a session, and print its token and nothing else."""

    help = "Print an access token of this API for EMAIL; the user is created if there is none."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("email", metavar="EMAIL")
        parser.add_argument("--staff", action="store_true", help="make the user staff")

    def handle(self, *, email: str, staff: bool, **options: Any) -> None:
        """Print the token."""
        try:
            address = parse_email(email)
        except ValueError as exc:
            raise CommandError(str(exc)) from None
        user, _ = User.objects.get_or_create(email=address)
        if not user.is_active:
            raise CommandError("The user is deactivated.")
        if staff and not user.is_staff:
            user.is_staff = True
            user.save(update_fields=["is_staff", "updated_at"])
        session = ApiSession.objects.create(user=user, expires_at=tokens.expiry())
        token = tokens.issue(
            user_id=user.pk,
            email=user.email,
            session_key=session.key,
            expires_at=session.expires_at,
        )
        self.stdout.write(token)
