"""Rows for tests, written as the service writes them: with statements, on the pool."""

from datetime import datetime, timedelta
from itertools import count
from uuid import UUID

from pydantic import BaseModel

from accounts import tokens
from accounts.models import ApiSession, User
from megapolis.statements import Insert, Param

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
    {name: Param(name) for name in ("email", "supabase_id", "is_active", "is_staff")},
    row=UserRow,
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
) -> UserRow:
    """Insert a user, whose email is made up if none is given."""
    return await _insert_user.one(
        email=email or f"user{next(_numbers)}@example.com",
        supabase_id=supabase_id,
        is_active=is_active,
        is_staff=is_staff,
    )


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
