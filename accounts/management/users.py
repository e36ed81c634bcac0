"""Which user a command is about."""

from uuid import UUID

from django.core.management.base import CommandError

from accounts.models import User, parse_email


def find_or_create_user(named: str) -> User:
    """Return the user with this id or Supabase id, or the local account with this email.

    A local account is one without a Supabase id. It is created if there is none. The email of a
    Supabase user may be unverified, so it finds nobody. Raises CommandError.
    """
    if named.isascii() and named.isdigit():
        return _get(pk=int(named))
    try:
        return _get(supabase_id=UUID(named))
    except ValueError:
        pass
    try:
        email = parse_email(named)
    except ValueError as exc:
        raise CommandError(str(exc)) from None
    user, _ = User.objects.get_or_create(email=email)
    reject_supabase_user(user, instead="give the id")
    return user


def reject_supabase_user(user: User, *, instead: str) -> None:
    """Raise CommandError if the user, who was found by email, came from Supabase.

    `instead` is what to do if that is who was meant.
    """
    if user.supabase_id is not None:
        raise CommandError(
            f"This email belongs to user {user.pk}, who came from Supabase with the id "
            f"{user.supabase_id}. It may be unverified. If you mean this user, {instead}."
        )


def _get(**key: int | UUID) -> User:
    user = User.objects.filter(**key).first()
    if user is None:
        raise CommandError("There is no user with this id.")
    return user
