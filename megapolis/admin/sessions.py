"""The sessions of the admin: rows, as Django's own, that end a fixed time after the sign-in.

Django's begin anew with each change, and each message that a page shows is one.
"""

from typing import Any

from django.contrib.auth.signals import user_logged_in
from django.contrib.sessions.backends import db
from django.contrib.sessions.models import Session
from django.dispatch import receiver
from django.http import HttpRequest


class SessionStore(db.SessionStore):
    """A session that keeps, however often it is saved, the end that its row has."""

    def load(self) -> dict[str, Any]:
        """Return what the session holds."""
        row = self._get_session_from_db()  # type: ignore[attr-defined] # not in stubs
        return self._with_end(row)

    async def aload(self) -> dict[str, Any]:
        """Return what the session holds."""
        row = await self._aget_session_from_db()  # type: ignore[attr-defined] # not in stubs
        return self._with_end(row)

    def _with_end(self, row: Session | None) -> dict[str, Any]:
        if row is None:
            return {}
        return {**self.decode(row.session_data), "_session_expiry": row.expire_date.isoformat()}


@receiver(user_logged_in)
def begin(request: HttpRequest, **_: object) -> None:
    """Count SESSION_COOKIE_AGE from now on: the session may be older than the sign-in."""
    request.session.set_expiry(None)
