"""A limit on guessing passwords at the admin's door.

Attempts are rows, so that every worker process counts the same ones. An attempt is written before
it is judged: of many at once none escapes the count. An account alone has no limit, for then
anybody could lock its owner out by failing on purpose.
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
    """Count an attempt, and tell whether it may go on. One that may not is not counted."""
    SignInAttempt.objects.filter(attempted_at__lt=Now() - WINDOW).delete()
    client, account = client_network(address), _account(email)
    attempt = SignInAttempt.objects.create(client=client, account=account)
    by_client = SignInAttempt.objects.filter(client=client)
    if by_client.filter(account=account).count() <= PER_ACCOUNT and by_client.count() <= PER_CLIENT:
        return True
    attempt.delete()
    return False


def forget_attempts(*, address: str, email: str) -> None:
    """Start anew, after a success."""
    SignInAttempt.objects.filter(client=client_network(address), account=_account(email)).delete()


def _account(email: str) -> str:
    """Return a keyed hash, for what is typed into the wrong field may be a password."""
    key = normalize_email(email) or ""
    return salted_hmac("accounts.sign_in", key, algorithm="sha256").hexdigest()
