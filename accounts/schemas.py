"""What the endpoints of accounts take and give."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from megapolis.rest import PRINTABLE_PATTERN


class CurrentUser(BaseModel):
    """Who makes the request, as the session and user rows say at this moment."""

    model_config = ConfigDict(frozen=True)

    id: int
    email: str | None
    is_staff: bool
    is_superuser: bool
    session_id: int
    aal: int


class UserResponse(BaseModel):
    """The signed-in user."""

    id: int
    email: str | None
    supabase_id: UUID | None
    is_staff: bool
    created_at: datetime


class SessionResponse(BaseModel):
    """A client that is signed in as this user."""

    id: int
    created_at: datetime
    last_seen_at: datetime = Field(description="When it last exchanged a Supabase token.")
    expires_at: datetime
    is_current: bool = Field(description="Whether this is the session of the request.")


class SessionListResponse(BaseModel):
    """A page of sessions."""

    items: list[SessionResponse]
    next_cursor: str | None = Field(description="Null on the last page.")


class TokenRequest(BaseModel):
    """A Supabase session's access token, as `supabase-js` has it."""

    model_config = ConfigDict(extra="forbid")

    access_token: str = Field(min_length=1, pattern=PRINTABLE_PATTERN)


class TokenResponse(BaseModel):
    """Our own token (RFC 6750), good for every endpoint; `expires_in` is in seconds."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - no password
    expires_in: int
