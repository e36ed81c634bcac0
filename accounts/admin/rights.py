"""Rights in the admin: staff manage users, and only superusers manage staff."""

from django.http import HttpRequest

from accounts.models import User


def is_superuser(request: HttpRequest) -> bool:
    """Return whether the user is a superuser. Only superusers grant permissions."""
    return bool(getattr(request.user, "is_superuser", False))


def may_manage(request: HttpRequest, user: User | None) -> bool:
    """Return whether a user with the permission may act on this user and their rows."""
    if is_superuser(request) or user is None:
        return True
    return not (user.is_staff or user.is_superuser)
