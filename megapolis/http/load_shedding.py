"""Load shedding: limits the requests in flight, and rejects the others with 503.

A request is rejected if it would wait longer than a client would. uvicorn's own limit counts idle
connections, too.
"""

from time import monotonic, thread_time
from typing import Final

from corsheaders.middleware import (
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS,
)
from django.conf import settings

from megapolis.environment import limits
from megapolis.http.prepared_response import Headers, PreparedResponse, prepared_problem
from megapolis.logger import logger

OVERLOADED: Final = prepared_problem(503, "Too many requests at once", {"Retry-After": "1"})

SAMPLE: Final = 256
"""Requests whose cost is measured together."""
USUAL_COST: Final = 0.0003
"""Seconds per request, until that is measured."""
LEAST: Final = 100
MOST: Final = 5000
"""Bounds of the number of requests in flight, whatever they cost."""
SHARE: Final = 0.8
"""Share of `MAX_WAIT` that is used: the rest is for what the measurement does not include."""


class LoadShedder:
    """The requests in flight of one handler, at most `limit`.

    Ask `rejects()`; then send `rejection()`, or work on the request inside of `with`.
    """

    def __init__(self, limit: int, *, name: str):
        self.limit = limit
        self.in_flight = 0
        self.rejected = 0
        self._name = name

    def __enter__(self) -> None:
        self.in_flight += 1

    def __exit__(self, *_: object) -> None:
        self.in_flight -= 1
        if self.rejected and self.has_room():
            logger.warning("Not overloaded any more; {} requests were rejected", self.rejected)
            self.rejected = 0

    def has_room(self) -> bool:
        """Return whether an overload is over."""
        return self.in_flight <= self.limit // 2

    def rejects(self, headers: Headers) -> bool:
        """Return whether the next request must be rejected."""
        return self.in_flight >= self.limit

    def rejection(self, headers: Headers) -> PreparedResponse:
        """Return the 503 for a request with these headers. It is logged once per overload."""
        if not self.rejected:
            logger.warning("Overloaded: {} requests {} are in flight", self.in_flight, self._name)
        self.rejected += 1
        return OVERLOADED.with_headers(_cors(headers))


class TimedLoadShedder(LoadShedder):
    """Limits requests to as many as can be served in `limits.MAX_WAIT`.

    The cost of a request is the time between two responses. It is measured only while the event
    loop is busy: otherwise requests do not wait for the loop.
    """

    def __init__(self, *, name: str) -> None:
        super().__init__(_limit(USUAL_COST), name=name)
        self._cost = USUAL_COST
        self._begin_sample()

    def __exit__(self, *exc_info: object) -> None:
        super().__exit__(*exc_info)
        self._served += 1
        if self._served == SAMPLE:
            self._measure()

    def _begin_sample(self) -> None:
        self._served, self._since, self._worked = 0, monotonic(), thread_time()

    def _measure(self) -> None:
        elapsed, worked = monotonic() - self._since, thread_time() - self._worked
        if worked > elapsed / 2:
            self._cost += (elapsed / SAMPLE - self._cost) / 4
            self.limit = _limit(self._cost)
        self._begin_sample()


def _limit(cost: float) -> int:
    return round(min(max(limits.MAX_WAIT * SHARE / cost, LEAST), MOST))


api: Final = TimedLoadShedder(name="of the API")
staff: Final = LoadShedder(limits.STAFF_IN_FLIGHT, name="of staff")
static: Final = LoadShedder(limits.STATIC_IN_FLIGHT, name="for static files")


def _cors(headers: Headers) -> Headers:
    """Return the headers that let a browser's script read the response (as CorsMiddleware does)."""
    if not settings.CORS_ALLOWED_ORIGINS:
        return []
    added = [(b"Vary", b"origin")]
    for name, value in headers:
        if name == b"origin" and value.decode("latin-1") in settings.CORS_ALLOWED_ORIGINS:
            exposed = ", ".join(settings.CORS_EXPOSE_HEADERS)
            added += [
                (ACCESS_CONTROL_ALLOW_ORIGIN.encode(), value),
                (ACCESS_CONTROL_EXPOSE_HEADERS.encode(), exposed.encode()),
            ]
    return added
