"""Whether a signal has receivers other than Django's own."""

from typing import Any
from weakref import ReferenceType

from django.core.cache import close_caches
from django.core.handlers.base import reset_urlconf
from django.db import close_old_connections, reset_queries
from django.dispatch import Signal

DJANGO_RECEIVERS = {close_old_connections, reset_queries, close_caches, reset_urlconf, None}
"""They tidy up what belongs to threads, or to a context that ends with the request anyway.

None is what a receiver has become that exists no more.
"""


_familiar: dict[Signal, list[Any]] = {}
"""Receivers that were found to be Django's own, so that the same need not be looked at again."""


def has_foreign_receivers(signal: Signal) -> bool:
    """Tell whether anybody but Django itself would have to be called."""
    if signal.receivers == _familiar.get(signal):
        return False
    for _, receiver, *_ in signal.receivers:
        known = receiver() if isinstance(receiver, ReferenceType) else receiver
        if known not in DJANGO_RECEIVERS:
            return True
    _familiar[signal] = signal.receivers.copy()
    return False
