"""Django's `clearsessions`, for the sessions of the API too."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.sessions.management.commands import clearsessions
from django.db.models import Q

from accounts.models import ApiSession

KEEP_REVOKED = timedelta(days=365)
"""A Supabase session may live on after it was ended here, and is refused as long as its row says
so. A year is longer than a client that was signed out keeps its refresh token."""


class Command(clearsessions.Command):
    """Remove expired sessions of the admin and of the API. Run it once a day."""

    help = "Remove expired sessions of the admin and of the API; run it once a day."

    def handle(self, **options: Any) -> None:
        """Remove them, and say how many of the API's there were."""
        super().handle(**options)
        now = datetime.now(UTC)
        expired = ApiSession.objects.filter(
            Q(revoked_at=None) | Q(revoked_at__lt=now - KEEP_REVOKED), expires_at__lt=now
        )
        count, _ = expired.delete()
        self.stdout.write(f"Removed {count} expired API sessions.")
