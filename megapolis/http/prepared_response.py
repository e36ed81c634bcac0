"""Answers that need neither Django nor a middleware: to health probes, and under overload.

They have the headers of every answer of the API, and cost a twentieth of one.
"""

from collections.abc import Awaitable, Callable, Mapping
from copy import copy
from http import HTTPStatus
from typing import Any

from django.conf import settings

from megapolis.errors.problems import PROBLEM_JSON, problem_document

type Headers = list[tuple[bytes, bytes]]
type Send = Callable[[Mapping[str, Any]], Awaitable[None]]


class PreparedResponse:
    """An answer that is the same for everybody."""

    def __init__(self, status: int, body: bytes, headers: Mapping[str, str]):
        self.status = status
        self.body = body
        named = {**settings.API_HEADERS, "Content-Length": str(len(body)), **headers}
        self.headers: Headers = [
            (name.encode(), value.encode("latin-1")) for name, value in named.items()
        ]
        self._encoded: tuple[Headers, bytes] | None = None
        """What these headers before its own came to, which uvicorn makes anew every second."""

    def with_headers(self, headers: Headers) -> "PreparedResponse":
        """Return the same answer with more headers."""
        if not headers:
            return self
        answer = copy(self)
        answer.headers = self.headers + headers
        answer._encoded = None
        return answer

    def encoded(self, first: Headers) -> bytes:
        """Return it as HTTP/1.1 has it (RFC 9112), with some headers before its own."""
        if self._encoded is None or self._encoded[0] is not first:
            status = HTTPStatus(self.status)
            start = f"HTTP/1.1 {status} {status.phrase}\r\n".encode()
            lines = _lines([*first, *self.headers])
            self._encoded = first, b"".join([start, *lines, b"\r\n", self.body])
        return self._encoded[1]

    async def __call__(self, send: Send) -> None:
        """Send it."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})


def _lines(headers: Headers) -> list[bytes]:
    return [b"%b: %b\r\n" % (name.lower(), value) for name, value in headers]


def prepared_problem(
    status: int, detail: str, headers: Mapping[str, str] | None = None
) -> PreparedResponse:
    """Return an error (RFC 9457). No line of the log belongs to it, so it has no request id."""
    document = problem_document(status, detail, request_id="-")
    return PreparedResponse(status, document, {"Content-Type": PROBLEM_JSON, **(headers or {})})
