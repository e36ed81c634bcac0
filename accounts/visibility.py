"""Which emails the admin shows: staff see the emails of users whom they may view.

`User.__str__` uses this, so it applies to lists, options, forms, logs and histories of every
feature. Outside the admin every email is shown.
"""

from contextvars import ContextVar
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import async_only_middleware

from megapolis.http.middleware import AsyncView

_request: ContextVar[Any] = ContextVar("request", default=None)
"""Not its user, who would be loaded where asgiref compares the variables of two contexts."""


def is_email_shown(user: AbstractBaseUser | None = None) -> bool:
    """Return whether the admin shows the signed-in staff a user's email, or all users' emails."""
    request = _request.get()
    if request is None or (user is not None and request.user.pk == user.pk):
        return True
    return any(request.user.has_perm(f"accounts.{verb}_user") for verb in ("view", "change"))


@async_only_middleware
def viewer(get_response: AsyncView) -> AsyncView:
    """Keep the request of an admin page in a context variable while it is handled."""

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        token = _request.set(request)
        try:
            return await get_response(request)
        finally:
            _request.reset(token)

    return middleware
