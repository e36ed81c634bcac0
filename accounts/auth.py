"""Authentication: the auth class of every endpoint without `auth=None`."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import wraps
from inspect import markcoroutinefunction
from typing import Any, ClassVar, Concatenate, Final

from django.http import HttpRequest
from ninja.constants import NOT_SET
from ninja.errors import ConfigError
from ninja.security.base import AuthBase

from accounts import statements, tokens
from accounts.assurance import LEVELS
from accounts.schemas import CurrentUser
from megapolis import database, environment
from megapolis.errors import Unauthorized

type View[**P, Response] = Callable[Concatenate[HttpRequest, P], Awaitable[Response]]


class JWTAuth(AuthBase):
    """Reads the bearer token (RFC 6750, section 2.1) and finds its session and user.

    One prepared query checks on every request that the session is neither revoked nor expired, that
    the user is active, and that the session has the second factor that the user needs.
    """

    openapi_type: ClassVar[str] = "http"
    openapi_scheme: ClassVar[str] = "bearer"
    openapi_bearerFormat: ClassVar[str] = "JWT"  # noqa: N815 - OpenAPI's name

    def __init__(self, *, is_concurrent: bool = False) -> None:
        super().__init__()
        self._is_concurrent = is_concurrent
        markcoroutinefunction(self)  # Makes Ninja's check at every request fast.

    async def __call__(self, request: HttpRequest) -> CurrentUser | tokens.Claims:
        """Return the user for `request.auth`. Raises `Unauthorized`.

        For a `concurrent_auth` endpoint it is the claims of the verified token.
        """
        scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthorized
        claims = tokens.read(token)
        return claims if self._is_concurrent else await _find_user(claims)


_concurrent: Final = JWTAuth(is_concurrent=True)


def concurrent_auth[**P, Response](view: View[P, Response]) -> View[P, Response]:
    """Look up the session while the endpoint reads. It saves a round trip to the database.

    If the session is not valid, the endpoint's result or error is dropped, and the response is 401.
    The endpoint must not write (`RuntimeError`). It cannot call `current_user(request)`, only
    `current_user_id(request)`. Its parameters are validated before the look-up.
    """

    @wraps(view)
    async def confirmed_view(
        request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs
    ) -> Response:
        claims: tokens.Claims = request.auth  # type: ignore[attr-defined] # Ninja sets it
        loop = asyncio.get_running_loop()
        lookup = asyncio.Task(_find_user(claims), loop=loop, eager_start=True)
        try:
            with database.read_only():
                response = await view(request, *args, **kwargs)
            await lookup
        except asyncio.CancelledError:
            if not lookup.cancel() and not lookup.cancelled():
                lookup.exception()  # Or asyncio logs that it was never retrieved.
            raise
        except Exception:
            await lookup
            raise
        finally:
            del lookup  # An error in it refers to this frame.
        return response

    def use(operation: Any) -> None:
        if operation.auth_param is not NOT_SET:
            raise ConfigError("concurrent_auth is an endpoint's auth: it takes no other")
        operation.auth_param = _concurrent
        operation.auth_callbacks = [_concurrent]

    # Ninja calls it with the operation that it makes of the view.
    confirmed_view._ninja_contribute_to_operation = [use]  # type: ignore[attr-defined]
    return confirmed_view


def current_user(request: HttpRequest) -> CurrentUser:
    """Return the user that `JWTAuth` found."""
    user: CurrentUser = request.auth  # type: ignore[attr-defined] # Ninja sets it
    if not isinstance(user, CurrentUser):
        raise TypeError("a concurrent_auth endpoint knows only current_user_id(request)")
    return user


def current_user_id(request: HttpRequest) -> int:
    """Return the id of the user. It is in the token too."""
    auth: CurrentUser | tokens.Claims = request.auth  # type: ignore[attr-defined] # Ninja sets it
    return auth.id if isinstance(auth, CurrentUser) else auth.user_id


async def _find_user(claims: tokens.Claims) -> CurrentUser:
    user = await statements.find_current_user.one_or_none(session_key=claims.session_key)
    if user is None or user.id != claims.user_id:
        raise tokens.InvalidToken
    # Without a call of `required_level`, which each request would pay for.
    if user.aal < LEVELS[environment.SUPABASE_REQUIRE_AAL2][user.is_staff or user.is_superuser]:
        raise tokens.InvalidToken
    return user
