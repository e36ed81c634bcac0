"""The SQL of accounts."""

from datetime import datetime
from uuid import UUID

from django.db.models import (
    BigIntegerField,
    EmailField,
    F,
    IntegerField,
    Q,
    Subquery,
    UUIDField,
    Value,
)
from django.db.models.functions import Coalesce, Now
from django.db.models.lookups import Exact
from pydantic import BaseModel

from accounts.models import ApiSession, User
from accounts.schemas import CurrentUser, SessionResponse, UserResponse
from megapolis.database import Insert, Param, Statement, Update


class ExchangedUser(BaseModel):
    """The user row as an exchange leaves it."""

    id: int
    email: str | None
    is_active: bool
    is_staff: bool
    is_superuser: bool


class ExchangedSession(BaseModel):
    """The session row as an exchange leaves it."""

    key: UUID
    revoked_at: datetime | None


class LoweredSession(BaseModel):
    """A session that has lost its second factor."""

    id: int


class RevokedSession(BaseModel):
    """A session that was ended."""

    id: int


find_current_user = Statement(
    User.objects.filter(
        is_active=True,
        api_sessions__key=Param("session_key"),
        api_sessions__revoked_at=None,
        api_sessions__expires_at__gt=Now(),
    ).annotate(session_id=F("api_sessions__pk"), aal=F("api_sessions__aal")),
    row=CurrentUser,
)

find_user = Statement(User.objects.filter(pk=Param("id")), row=UserResponse)

_unchanged = User.objects.filter(
    Exact(Coalesce("email", Value("")), Coalesce(Param("email", EmailField()), Value(""))),
    supabase_id=Param("supabase_id", UUIDField()),
)

put_user = Insert(
    User,
    {
        "supabase_id": Param("supabase_id"),
        "email": Param("email"),
        "last_seen_at": Now(),
        # To be seen is not to be updated, to have another email is.
        "updated_at": Coalesce(Subquery(_unchanged.values("updated_at")), Now()),
    },
    unique=("supabase_id",),
    update=("email", "last_seen_at", "updated_at"),
    row=ExchangedUser,
)

put_session = Insert(
    ApiSession,
    {
        "user": Param("user_id"),
        "supabase_session_id": Param("supabase_session_id"),
        "aal": Param("aal"),
        "expires_at": Param("expires_at"),
        "last_seen_at": Now(),
    },
    unique=("user", "supabase_session_id"),
    update=("aal", "expires_at", "last_seen_at"),
    row=ExchangedSession,
)

lower_session = Update(
    ApiSession.objects.filter(
        user__supabase_id=Param("supabase_id"), supabase_session_id=Param("supabase_session_id")
    ),
    {"aal": 1},
    row=LoweredSession,
)

_sessions = ApiSession.objects.filter(user=Param("user_id"), revoked_at=None)
_listed = (
    _sessions.filter(expires_at__gt=Now())
    .order_by("-id")
    .annotate(is_current=Q(pk=Param("session_id", BigIntegerField())))
)

list_sessions = Statement(_listed, row=SessionResponse, limit=Param("limit", IntegerField()))
list_sessions_after = Statement(
    _listed.filter(id__lt=Param("after_id")),
    row=SessionResponse,
    limit=Param("limit", IntegerField()),
)

# Expired ones too: the next exchange of their Supabase session would prolong them.
revoke_session = Update(_sessions.filter(pk=Param("id")), {"revoked_at": Now()}, row=RevokedSession)

revoke_sessions = Update(_sessions, {"revoked_at": Now()}, row=RevokedSession)
