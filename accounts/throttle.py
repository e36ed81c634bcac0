"""A limit on requests per client address, kept in the memory of the process.

Each worker process counts for itself, so that a client gets at most `workers` times the limit.
That is enough for what it is for: to make guessing and flooding slow, without a query.
"""

import math
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv4Address, ip_address, ip_network
from time import monotonic

from django.http import HttpRequest
from ninja.throttling import BaseThrottle

UNKNOWN = "unknown"
"""All requests without a valid address share this bucket."""
ADDRESSES = 10_000
"""How many addresses are kept. The least recently seen one is dropped first."""


class AddressThrottle(BaseThrottle):
    """A token bucket per address, which holds the requests of one minute.

    The address is that of the connection, or what a proxy in TRUSTED_PROXIES says. `per_minute` 0
    switches the limit off. `clock` is in seconds and never goes back.
    """

    def __init__(self, per_minute: int, *, clock: Callable[[], float] = monotonic):
        self.per_minute = per_minute
        self.clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._wait = 0.0

    def allow_request(self, request: HttpRequest) -> bool:
        """Count the request, and tell whether it is within the limit."""
        if not self.per_minute:
            return True
        address = client_network(request.META.get("REMOTE_ADDR", ""))
        now = self.clock()
        bucket = self._buckets.pop(address, (float(self.per_minute), now))
        level, since = bucket
        level = min(self.per_minute, level + (now - since) * self.per_minute / 60)
        allowed = level >= 1
        self._buckets[address] = (level - 1, now) if allowed else bucket
        if len(self._buckets) > ADDRESSES:
            self._buckets.popitem(last=False)
        self._wait = (1 - level) * 60 / self.per_minute
        return allowed

    def wait(self) -> int:
        """Return the seconds until the request that was just rejected would be allowed."""
        return max(1, math.ceil(self._wait))


def client_network(address: str) -> str:
    """Return what counts as one client: an IPv4 address, or the /64 that an IPv6 host is given.

    A socket for both shows IPv4 addresses as IPv4-mapped ones, which all are in one /64.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return UNKNOWN
    if isinstance(parsed, IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ip_network((parsed, 64), strict=False))
