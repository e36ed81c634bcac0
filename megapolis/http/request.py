"""A request, whose body is bounded while it streams in and never touches the disk."""

from collections.abc import Awaitable, Callable, Mapping
from io import BytesIO
from typing import Any, Final

from django.core import exceptions
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIRequest

from megapolis.environment import limits
from megapolis.errors import ApiError, BadRequest, PayloadTooLarge, ServiceUnavailable

type Scope = dict[str, Any]
type Receive = Callable[[], Awaitable[Mapping[str, Any]]]


SMALL: Final = 65_536
"""Bytes of a body that are always taken: the server itself holds as much for each connection."""


class TooManyBodies(ServiceUnavailable):
    """The connection is closed, for the rest of the body is not read."""

    detail = "Too many large requests at once"

    def __init__(self) -> None:
        super().__init__()
        self.headers["Connection"] = "close"


class Incomplete:
    """The bodies that are still coming in."""

    excess = 0
    """What all of them have beyond SMALL bytes each."""


incomplete: Final = Incomplete()


class ApiRequest(ASGIRequest):
    """A request. `early_error` is what was wrong with it before it was made."""

    early_error: ApiError | None = None


async def receive_request(scope: Scope, receive: Receive, *, limit: int) -> ApiRequest:
    """Receive the body, of `limit` bytes at the most, and make the request.

    `RequestAborted` if the client disconnects.
    """
    try:
        body = await receive_body(scope, receive, limit=limit)
        return ApiRequest(scope, BytesIO(body))
    except ApiError as exc:
        error = exc
    except UnicodeDecodeError:
        error = BadRequest("The query string is not UTF-8")
    except (exceptions.BadRequest, ValueError):
        error = BadRequest("Content-Type is malformed")
    headers = [header for header in scope["headers"] if header[0] != b"content-type"]
    request = ApiRequest({**scope, "query_string": b"", "headers": headers}, BytesIO())
    request.early_error = error
    return request


async def receive_body(scope: Scope, receive: Receive, *, limit: int) -> bytes:
    """Return the whole body.

    Raises `PayloadTooLarge` beyond `limit` bytes, `TooManyBodies` if those of all requests together
    are too large, `BadRequest`, and `RequestAborted` if the client disconnects.
    """
    for name, value in scope["headers"]:
        if name == b"content-length" and _length(value) > limit:
            raise PayloadTooLarge
    chunks: list[bytes] = []
    size, excess, more = 0, 0, True
    try:
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise RequestAborted
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > limit:
                raise PayloadTooLarge
            before, excess = excess, max(0, size - SMALL)
            incomplete.excess += excess - before
            if incomplete.excess > limits.BODIES_MAX_BYTES:
                raise TooManyBodies
            chunks.append(chunk)
            more = message.get("more_body", False)
    finally:
        incomplete.excess -= excess
    return b"".join(chunks)


def _length(value: bytes) -> int:
    try:
        return int(value)
    except ValueError:
        raise BadRequest("Content-Length is not a number") from None
