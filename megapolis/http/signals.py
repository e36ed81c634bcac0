"""Whether a signal has receivers other than Django's own."""

from weakref import ReferenceType

from django.core.cache import close_caches
from django.core.handlers.base import reset_urlconf
from django.db import close_old_connections, reset_queries
from django.dispatch import Signal

DJANGO_RECEIVERS = {
    id(receiver) for receiver in (close_old_connections, reset_queries, close_caches, reset_urlconf)
}
"""They clean up what belongs to threads, or to a context that ends with the request anyway."""


def has_other_receivers(signal: Signal) -> bool:
    """Return True if the signal has a receiver that is not Django's and still exists."""
    for key, receiver, _, _ in signal.receivers:
        if key[0] not in DJANGO_RECEIVERS and (
            not isinstance(receiver, ReferenceType) or receiver() is not None
        ):
            return True
    return False
