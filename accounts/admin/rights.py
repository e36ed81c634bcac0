"""Who may do what to whom: staff look after users, and only superusers after staff."""

from django.http import HttpRequest

from accounts.models import User


def is_superuser(request: HttpRequest) -> bool:
    """Whether a superuser asks, who alone gives rights."""
    return bool(getattr(request.user, "is_superuser", False))


def may_manage(request: HttpRequest, user: User | None) -> bool:
    """Whether whoever asks may act on the user, and on what is his, if he has the permission."""
    if is_superuser(request) or user is None:
        return True
    return not (user.is_staff or user.is_superuser)
