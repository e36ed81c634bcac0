"""Django's `clearsessions`, for the sessions of the API too."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.sessions.management.commands import clearsessions
from django.db.models import Q

from accounts.models import ApiSession

KEEP = timedelta(days=365)
"""A Supabase session may outlive its row's expiry and its end here. As long as there is the row,
signing out everywhere ends it, and an exchange after its end is rejected."""


class Command(clearsessions.Command):
    """Remove expired sessions of the admin and of the API. Run it once a day."""

    help = "Remove expired sessions of the admin and of the API; run it once a day."

    def handle(self, **options: Any) -> None:
        """Remove them, and say how many of the API's there were."""
        super().handle(**options)
        now = datetime.now(UTC)
        kept = Q(supabase_session_id__isnull=False, expires_at__gte=now - KEEP)
        expired = ApiSession.objects.filter(
            (Q(revoked_at=None) & ~kept) | Q(revoked_at__lt=now - KEEP), expires_at__lt=now
        )
        count, _ = expired.delete()
        self.stdout.write(f"Removed {count} expired API sessions.")
