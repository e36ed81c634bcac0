"""Errors, and the form in which they are answered (RFC 9457 problem details).

    ApiError
    ├── BadRequest             400
    ├── Unauthorized           401  with WWW-Authenticate (RFC 6750, section 3)
    ├── Forbidden              403
    ├── NotFound               404
    ├── Conflict               409
    ├── PayloadTooLarge        413
    ├── UnsupportedMediaType   415
    ├── UnprocessableContent   422
    └── ServiceUnavailable     503  with Retry-After

A feature declares its own errors beside the service that raises them, as subclasses with a
``detail`` of their own. `megapolis.errors.exception_handler` answers them, and whatever else is
raised. A 429 comes from one of Ninja's throttles, such as `accounts.throttle`.
"""

from collections.abc import Mapping


class ApiError(Exception):
    """An error with a status. ``detail`` is written for the client and never holds a secret."""

    status: int = 500
    detail: str = "Internal server error"

    def __init__(self, detail: str | None = None, *, headers: Mapping[str, str] | None = None):
        super().__init__(detail or self.detail)
        self.detail = detail or self.detail
        self.headers: dict[str, str] = dict(headers or {})


class BadRequest(ApiError):
    """The request cannot be understood or carried out as it is."""

    status = 400
    detail = "Bad request"


class Unauthorized(ApiError):
    """No valid credentials. ``error`` is the code of RFC 6750, absent where none were sent."""

    status = 401
    detail = "Not authenticated"
    error: str | None = None

    def __init__(self, detail: str | None = None):
        super().__init__(detail)
        challenge = f'Bearer error="{self.error}"' if self.error else "Bearer"
        self.headers["WWW-Authenticate"] = challenge


class Forbidden(ApiError):
    """The client is known, and may not do this."""

    status = 403
    detail = "Not allowed"


class NotFound(ApiError):
    """There is nothing at this address, or nothing that this client may know of."""

    status = 404
    detail = "Not found"


class Conflict(ApiError):
    """The state of another resource forbids it."""

    status = 409
    detail = "Conflict"


class PayloadTooLarge(ApiError):
    """The body exceeds the limit. The connection is closed, for the rest of it is not read."""

    status = 413
    detail = "Request body too large"

    def __init__(self, detail: str | None = None):
        super().__init__(detail, headers={"Connection": "close"})


class UnsupportedMediaType(ApiError):
    """The body is not of the content type that the endpoint reads."""

    status = 415
    detail = "Content-Type must be application/json"


class UnprocessableContent(ApiError):
    """The body is well-formed, and a value in it cannot be accepted."""

    status = 422
    detail = "Invalid input"


class ServiceUnavailable(ApiError):
    """Something that the service needs is away for now; ``retry_after`` is in seconds."""

    status = 503
    detail = "Temporarily unavailable"

    def __init__(self, detail: str | None = None, *, retry_after: int = 1):
        super().__init__(detail, headers={"Retry-After": str(retry_after)})
