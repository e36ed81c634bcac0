"""How many requests are worked on at once, and what those beyond it are told.

Accepting more work than can be done makes every answer late and none more frequent. What is
refused is refused at once and for next to nothing, so that nearly all of the machine is left for
what was accepted. uvicorn's own limit counts connections, idle ones too.
"""

from typing import Final

from corsheaders.middleware import (
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS,
)
from django.conf import settings

from megapolis import database, limits
from megapolis.logger import logger
from megapolis.plain import Headers, PlainAnswer, plain_problem

OVERLOADED: Final = plain_problem(503, "Too many requests at once", {"Retry-After": "1"})


class Admission:
    """The requests in flight behind one door, `limit` at the most.

    `if not admission.refuses(headers): with admission: …`
    """

    def __init__(self, limit: int, *, name: str):
        self.limit = limit
        self.in_flight = 0
        self.refused = 0
        self._name = name

    def __enter__(self) -> None:
        self.in_flight += 1

    def __exit__(self, *_: object) -> None:
        self.in_flight -= 1
        if self.refused and self.has_room():
            logger.warning("Not overloaded any more; {} requests were refused", self.refused)
            self.refused = 0

    def has_room(self) -> bool:
        """Whether an overload is over, and not only for the moment."""
        return self.in_flight <= self.limit // 2

    def refuses(self, headers: Headers) -> bool:
        """Whether a request with these headers is not to be worked on."""
        return self.in_flight >= self.limit

    def refusal(self, headers: Headers) -> PlainAnswer:
        """Return the answer to a request that is refused. The log says it once per overload."""
        if not self.refused:
            logger.warning("Overloaded: {} requests {} are in flight", self.in_flight, self._name)
        self.refused += 1
        return OVERLOADED.with_headers(_cors(headers))


class ApiAdmission(Admission):
    """Refuses those, too, who are sure to need a database that has too many waiting already."""

    def has_room(self) -> bool:
        """Whether the overload is over, that of the database too."""
        return super().has_room() and database.has_idle_connection()

    def refuses(self, headers: Headers) -> bool:
        """Whether it is full, or there is a token and nowhere to look its owner up."""
        if self.in_flight >= self.limit:
            return True
        return database.is_exhausted() and any(name == b"authorization" for name, _ in headers)


api: Final = ApiAdmission(limits.IN_FLIGHT, name="of the API")
staff: Final = Admission(limits.STAFF_IN_FLIGHT, name="of staff")
static: Final = Admission(limits.STATIC_IN_FLIGHT, name="for static files")


def _cors(headers: Headers) -> Headers:
    """What lets a browser's script read the answer, as CorsMiddleware says it."""
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
