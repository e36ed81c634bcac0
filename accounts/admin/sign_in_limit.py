"""The limit on password guessing at the admin.

Attempts are rows, so that all worker processes share the count. An attempt is written before the
password is checked, so that concurrent attempts are counted too. There is no limit per account
alone: anybody could use it to lock the owner out.
"""

from datetime import timedelta

from django.db.models.functions import Now
from django.utils.crypto import salted_hmac

from accounts.models import SignInAttempt, normalize_email
from accounts.throttle import client_network

WINDOW = timedelta(minutes=15)
PER_ACCOUNT = 5
"""Failures of one client with one account in WINDOW."""
PER_CLIENT = 50
"""Failures of one client in WINDOW with any accounts; an office may share one address."""


def begin_attempt(*, address: str, email: str) -> bool:
    """Count an attempt and return whether it is allowed. A rejected attempt is not counted."""
    SignInAttempt.objects.filter(attempted_at__lt=Now() - WINDOW).delete()
    client, account = client_network(address), _account(email)
    attempt = SignInAttempt.objects.create(client=client, account=account)
    by_client = SignInAttempt.objects.filter(client=client)
    if by_client.filter(account=account).count() <= PER_ACCOUNT and by_client.count() <= PER_CLIENT:
        return True
    attempt.delete()
    return False


def forget_attempts(*, address: str, email: str) -> None:
    """Delete the attempts after a success."""
    SignInAttempt.objects.filter(client=client_network(address), account=_account(email)).delete()


def _account(email: str) -> str:
    """Return a keyed hash, because a password may have been typed into the wrong field."""
    key = normalize_email(email) or ""
    return salted_hmac("accounts.sign_in", key, algorithm="sha256").hexdigest()
