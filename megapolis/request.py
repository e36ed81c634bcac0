"""A request, whose body is bounded while it streams in and never touches the disk."""

from collections.abc import Awaitable, Callable, Mapping
from io import BytesIO
from typing import Any

from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIRequest

from megapolis.errors import ApiError, BadRequest, PayloadTooLarge

type Scope = dict[str, Any]
type Receive = Callable[[], Awaitable[Mapping[str, Any]]]


class NativeRequest(ASGIRequest):
    """A request. `early_error` is what was wrong with it before it was made."""

    early_error: ApiError | None = None


async def receive_request(scope: Scope, receive: Receive, *, limit: int) -> NativeRequest:
    """Receive the body, of `limit` bytes at the most, and make the request.

    `RequestAborted` if the client hangs up.
    """
    try:
        body = await _receive_body(scope, receive, limit=limit)
        return NativeRequest(scope, BytesIO(body))
    except PayloadTooLarge as exc:
        error: ApiError = exc
    except UnicodeDecodeError:
        error = BadRequest("The query string is not UTF-8")
    except ValueError:
        error = BadRequest("Content-Length is not a number")
    request = NativeRequest({**scope, "query_string": b""}, BytesIO())
    request.early_error = error
    return request


async def _receive_body(scope: Scope, receive: Receive, *, limit: int) -> bytes:
    for name, value in scope["headers"]:
        if name == b"content-length" and int(value) > limit:
            raise PayloadTooLarge
    chunks, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RequestAborted
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > limit:
            raise PayloadTooLarge
        more = message.get("more_body", False)
    return b"".join(chunks)
