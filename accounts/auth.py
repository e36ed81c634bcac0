"""Who makes a request: the auth class of every endpoint that does not say `auth=None`."""

from collections.abc import Sequence
from inspect import markcoroutinefunction
from typing import ClassVar, Final

from django.http import HttpRequest
from ninja.security.base import AuthBase

from accounts import statements, tokens
from accounts.assurance import LEVELS
from accounts.schemas import CurrentUser
from megapolis import environment
from megapolis.batch_loader import BatchLoader
from megapolis.errors import Unauthorized


async def _find_users(session_keys: Sequence[str]) -> dict[str, CurrentUser]:
    rows = await statements.find_current_users.all(session_keys=session_keys)
    return {user.session_key: user for user in rows}


_users_by_session: Final = BatchLoader(_find_users)
"""Of the sessions that are in force."""


class JWTAuth(AuthBase):
    """Reads the bearer token (RFC 6750, section 2.1) and finds its session and user.

    One prepared query answers whether the session was revoked or is over, whether the user was
    deactivated or deleted, and whether the session lacks a second factor that the user needs by
    now, so that each of these bites on the very next request.
    """

    openapi_type: ClassVar[str] = "http"
    openapi_scheme: ClassVar[str] = "bearer"
    openapi_bearerFormat: ClassVar[str] = "JWT"  # noqa: N815 - OpenAPI's name

    def __init__(self) -> None:
        super().__init__()
        markcoroutinefunction(self)  # Ninja asks at every request, and this is answered at once.

    async def __call__(self, request: HttpRequest) -> CurrentUser:
        """Return the user for `request.auth`. Raises `Unauthorized`."""
        scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthorized
        claims = tokens.read(token)
        user = await _users_by_session.get(claims.session_key)
        if user is None or user.id != claims.user_id:
            raise tokens.InvalidToken
        # Without a call of `required_level`, which each request would pay for.
        if user.aal < LEVELS[environment.SUPABASE_REQUIRE_AAL2][user.is_staff or user.is_superuser]:
            raise tokens.InvalidToken
        return user


def current_user(request: HttpRequest) -> CurrentUser:
    """Return the user that `JWTAuth` found."""
    user: CurrentUser = request.auth  # type: ignore[attr-defined] # Ninja sets it
    return user
