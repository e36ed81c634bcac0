"""Rows for tests, written as the service writes them: with statements, on the pool."""

from datetime import datetime, timedelta
from itertools import count
from uuid import UUID

from django.contrib.auth import get_permission_codename
from django.db.models import Model
from pydantic import BaseModel

from accounts import tokens
from accounts.models import ApiSession, User
from megapolis import database
from megapolis.database import Insert, Param

_numbers = count(1)


class UserRow(BaseModel):
    """A user of a test."""

    id: int
    email: str | None
    supabase_id: UUID | None
    is_active: bool
    is_staff: bool


class SessionRow(BaseModel):
    """A session of a test."""

    id: int
    key: UUID
    user_id: int
    expires_at: datetime


_insert_user = Insert(
    User,
    {
        name: Param(name)
        for name in ("email", "supabase_id", "is_active", "is_staff", "is_superuser")
    },
    row=UserRow,
)
PERMISSION = b"""
    SELECT p.id FROM auth_permission p JOIN django_content_type t ON t.id = p.content_type_id
    WHERE t.app_label = $2::text AND p.codename = $3::text
"""
PERMIT = (
    b"""
    INSERT INTO accounts_user_user_permissions (user_id, permission_id)
    SELECT $1::bigint, permission.id FROM (%b) permission
"""
    % PERMISSION
)
PERMIT_GROUP = (
    b"""
    WITH new_group AS (INSERT INTO auth_group (name) VALUES ($4::text) RETURNING id),
    granted AS (
        INSERT INTO auth_group_permissions (group_id, permission_id)
        SELECT new_group.id, permission.id FROM new_group, (%b) permission
    )
    INSERT INTO accounts_user_groups (user_id, group_id) SELECT $1::bigint, id FROM new_group
"""
    % PERMISSION
)
_insert_session = Insert(
    ApiSession,
    {name: Param(name) for name in ("user", "expires_at", "revoked_at", "supabase_session_id")},
    row=SessionRow,
)


async def make_user(
    *,
    email: str | None = None,
    supabase_id: UUID | None = None,
    is_active: bool = True,
    is_staff: bool = False,
    is_superuser: bool = False,
) -> UserRow:
    """Insert a user, whose email is made up if none is given."""
    return await _insert_user.one(
        email=email or f"user{next(_numbers)}@example.com",
        supabase_id=supabase_id,
        is_active=is_active,
        is_staff=is_staff,
        is_superuser=is_superuser,
    )


async def permit(user: UserRow, verb: str, model: type[Model]) -> None:
    """Give a user the permission to `verb` a model."""
    await database.fetch(PERMIT, [user.id, *_permission(verb, model)], reads=False)


async def permit_group(user: UserRow, verb: str, model: type[Model]) -> None:
    """Put a user into a new group that has the permission to `verb` a model."""
    name = f"group {next(_numbers)}"
    await database.fetch(PERMIT_GROUP, [user.id, *_permission(verb, model), name], reads=False)


def _permission(verb: str, model: type[Model]) -> tuple[str, str]:
    return model._meta.app_label, get_permission_codename(verb, model._meta)


async def make_session(
    user: UserRow,
    *,
    lifetime: timedelta = tokens.LIFETIME,
    revoked_at: datetime | None = None,
    supabase_session_id: UUID | None = None,
) -> SessionRow:
    """Insert a session of the user, from now on for `lifetime`."""
    return await _insert_session.one(
        user=user.id,
        expires_at=tokens.expiry() - tokens.LIFETIME + lifetime,
        revoked_at=revoked_at,
        supabase_session_id=supabase_session_id,
    )


async def make_token(user: UserRow, session: SessionRow | None = None) -> str:
    """Return a token of the user, of a new session if none is given."""
    session = session or await make_session(user)
    return tokens.issue(
        user_id=user.id,
        email=user.email,
        session_key=session.key,
        expires_at=session.expires_at,
    )
