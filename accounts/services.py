"""Signing in, and ending sessions."""

from psycopg.errors import UniqueViolation
from pydantic import TypeAdapter

from accounts import statements, supabase, tokens
from accounts.assurance import required_level
from accounts.schemas import CurrentUser, SessionListResponse, TokenResponse, UserResponse
from accounts.supabase.identity import Identity
from megapolis.errors import Conflict, Forbidden, NotFound
from megapolis.rest import PageQuery, decode_cursor, encode_cursor, split_page

_session_key = TypeAdapter(tuple[int])
_SESSIONS = "sessions"


class EmailTaken(Conflict):
    """Another user has this email. An account is never taken over by email address."""

    detail = "The email belongs to another user"


class UserDeactivated(Forbidden):
    """The user was locked out."""

    detail = "The user is deactivated"


class SecondFactorRequired(Forbidden):
    """The token's Supabase session has only the first factor, and the user needs a second one."""

    detail = "A second factor is required: complete it at Supabase, then exchange the new token"


class SessionEnded(tokens.InvalidToken):
    """The session was ended here. The user must sign in to Supabase again."""

    detail = "The session has ended"


class SessionNotFound(NotFound):
    """The user has no session of this id, or it was ended before."""

    detail = "Session not found"


async def exchange(*, access_token: str) -> TokenResponse:
    """Sign the owner of a Supabase access token in, creating the user at the first time.

    Raises a `supabase.Rejection`, `EmailTaken`, `UserDeactivated`, `SecondFactorRequired` or
    `SessionEnded`. One Supabase session is one session here, however often its tokens are
    exchanged.
    """
    identity = await supabase.verify(access_token)
    await _require_level(identity, is_staff=False)
    user = await _put_user(identity)
    if not user.is_active:
        raise UserDeactivated
    await _require_level(identity, is_staff=user.is_staff or user.is_superuser)
    expires_at = tokens.expiry()
    session = await statements.put_session.one(
        user_id=user.id,
        supabase_session_id=identity.session_id,
        aal=identity.aal,
        expires_at=expires_at,
    )
    if session.revoked_at:
        raise SessionEnded
    token = tokens.issue(
        user_id=user.id, email=user.email, session_key=session.key, expires_at=expires_at
    )
    return TokenResponse(access_token=token, expires_in=int(tokens.LIFETIME.total_seconds()))


async def get_user(*, user_id: int) -> UserResponse:
    """Return the row of the signed-in user, or raise `InvalidToken` if it was deleted meanwhile."""
    found = await statements.find_user.one_or_none(id=user_id)
    if found is None:
        raise tokens.InvalidToken
    return found


async def list_sessions(*, user: CurrentUser, query: PageQuery) -> SessionListResponse:
    """Return a page of the user's active sessions, the newest first."""
    values = {"user_id": user.id, "session_id": user.session_id, "limit": query.limit + 1}
    if query.cursor is None:
        rows = await statements.list_sessions.all(**values)
    else:
        (after_id,) = decode_cursor(query.cursor, context=_SESSIONS, key=_session_key)
        rows = await statements.list_sessions_after.all(**values, after_id=after_id)
    items, next_cursor = split_page(
        rows, limit=query.limit, cursor_of=lambda row: encode_cursor((row.id,), context=_SESSIONS)
    )
    return SessionListResponse(items=items, next_cursor=next_cursor)


async def end_session(*, user: CurrentUser, session_id: int) -> None:
    """End one session of the user, or raise `SessionNotFound`. Its token is rejected then."""
    ended = await statements.revoke_session.one_or_none(id=session_id, user_id=user.id)
    if ended is None:
        raise SessionNotFound


async def end_current_session(*, user: CurrentUser) -> None:
    """End the session of the request. It is no error if another request just did."""
    await statements.revoke_session.one_or_none(id=user.session_id, user_id=user.id)


async def end_all_sessions(*, user: CurrentUser) -> None:
    """End every session of the user: the one of the request, and those that have expired, too.

    A Supabase session that was never exchanged has no row yet, and may still be exchanged.
    """
    await statements.revoke_sessions.count(user_id=user.id)


async def _require_level(identity: Identity, *, is_staff: bool) -> None:
    """Raise `SecondFactorRequired` if the identity lacks a second factor that it needs.

    A session that had one until now has lost it: the user removed the factor at Supabase.
    """
    if identity.aal >= required_level(is_staff=is_staff):
        return
    await statements.lower_session.count(
        supabase_id=identity.supabase_id, supabase_session_id=identity.session_id
    )
    raise SecondFactorRequired


async def _put_user(identity: Identity) -> statements.ExchangedUser:
    """Create or refresh the user of an identity, or raise `EmailTaken`.

    If a user signs in for the first time twice concurrently, the later insert may fail on the email
    instead of the identity. The second attempt then finds the row of the first.
    """
    try:
        return await statements.put_user.one(supabase_id=identity.supabase_id, email=identity.email)
    except UniqueViolation:
        pass
    try:
        return await statements.put_user.one(supabase_id=identity.supabase_id, email=identity.email)
    except UniqueViolation:
        raise EmailTaken from None
