"""How many requests are worked on at once, and what those beyond it are told.

Accepting more work than can be done makes every answer late and none more frequent. What is
refused is refused at once and for next to nothing, so that nearly all of the machine is left for
what was accepted. uvicorn's own limit counts connections, idle ones too.
"""

from typing import Any, Final

from corsheaders.middleware import (
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS,
)
from django.conf import settings

from megapolis.logger import logger
from megapolis.plain import Headers, Send, plain_problem

OVERLOADED: Final = plain_problem(503, "Too many requests at once", {"Retry-After": "1"})


class Admission:
    """The requests in flight behind one door, `limit` at the most.

    `if not admission.is_full: with admission: …`
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
        if self.refused and self.in_flight < self.limit // 2:
            logger.warning("Not overloaded any more; {} requests were refused", self.refused)
            self.refused = 0

    @property
    def is_full(self) -> bool:
        """Whether the next request is to be refused."""
        return self.in_flight >= self.limit

    async def refuse(self, scope: dict[str, Any], send: Send) -> None:
        """Answer 503 without having looked at the request. The log says it once per overload."""
        if not self.refused:
            logger.warning("Overloaded: {} requests {} are in flight", self.in_flight, self._name)
        self.refused += 1
        await OVERLOADED(send, headers=_cors(scope))


def _cors(scope: dict[str, Any]) -> Headers:
    """What lets a browser's script read the answer, as CorsMiddleware says it."""
    if not settings.CORS_ALLOWED_ORIGINS:
        return []
    headers = [(b"Vary", b"origin")]
    for name, value in scope["headers"]:
        if name == b"origin" and value.decode("latin-1") in settings.CORS_ALLOWED_ORIGINS:
            exposed = ", ".join(settings.CORS_EXPOSE_HEADERS)
            headers += [
                (ACCESS_CONTROL_ALLOW_ORIGIN.encode(), value),
                (ACCESS_CONTROL_EXPOSE_HEADERS.encode(), exposed.encode()),
            ]
    return headers
