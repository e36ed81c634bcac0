"""Who a Supabase access token is about, and how one is refused.

    Rejection
    ├── InvalidSupabaseToken   401  not a token, not genuine, or not in force
    ├── ForbiddenIdentity      403  genuine, of a kind that gets no session here
    └── SupabaseUnavailable    503  genuine or not: Supabase is needed to tell, and is away

No refusal says which rule was broken, or holds any part of the token.
"""

from dataclasses import dataclass
from uuid import UUID

from accounts.jose import Jws, MalformedToken
from accounts.models import EMAIL_MAX_LENGTH, normalize_email
from megapolis.errors import ApiError, Forbidden, ServiceUnavailable, Unauthorized

LEEWAY = 30
"""Seconds by which Supabase's clock and ours may differ."""

LONGEST_LIFE = 24 * 60 * 60
"""How far ahead `exp` may be. The `anon` and `service_role` keys, valid for ten years, are not."""

AUTHENTICATED = "authenticated"
"""The audience and the role of a signed-in user."""

CLIENT_CLAIMS = frozenset({"client_id", "scope"})
"""Claims that only the tokens of third-party OAuth clients have, whatever the value."""

CLIENT_METHODS = "oauth_provider/"
"""How the `amr` methods begin by which such a client signed in."""


class Rejection(ApiError):
    """A Supabase access token that is not accepted."""


class InvalidSupabaseToken(Rejection, Unauthorized):
    """Not a token of a user of this Supabase project, or no longer one."""

    detail = "Invalid Supabase access token"
    error = "invalid_token"


class ForbiddenIdentity(Rejection, Forbidden):
    """An anonymous user, a third-party OAuth client's token for the user, or another role."""

    detail = "This kind of Supabase user or token is not accepted"


class SupabaseUnavailable(Rejection, ServiceUnavailable):
    """Supabase Auth does not answer, and without it the token cannot be checked."""

    detail = "Supabase Auth is temporarily unavailable"


@dataclass(frozen=True, slots=True)
class Identity:
    """A user of Supabase, in one of his sessions there."""

    supabase_id: UUID
    """The `sub` claim: the one thing by which the user is known."""

    session_id: UUID
    """Supabase's session, which outlives the access token."""

    email: str | None
    """In the spelling of `normalize_email`. It proves nothing and may change."""

    expires_at: int
    """When the access token expires, in seconds since 1970."""

    aal: int = 1
    """Supabase's authenticator assurance level: 2 after a second factor, otherwise 1."""


def read_identity(token: Jws, *, now: float) -> Identity:
    """Judge the claims that every access token of a user has, strictly typed.

    The caller judges `iss`, which decides whose key counts; `reject_forbidden` says whether such
    a user is welcome. `now` is in seconds since 1970. Raises MalformedToken for whatever is
    missing, mistyped, foreign, expired or not yet valid.
    """
    if not _is_for_users(token.claims.get("aud")):
        raise MalformedToken
    expires_at = token.number("exp")
    if not now - LEEWAY < expires_at <= now + LEEWAY + LONGEST_LIFE:
        raise MalformedToken
    if token.number("iat") > now + LEEWAY:
        raise MalformedToken
    if "nbf" in token.claims and token.number("nbf") > now + LEEWAY:
        raise MalformedToken
    if not isinstance(token.claims.get("is_anonymous", False), bool) or not token.text("role"):
        raise MalformedToken
    _read_methods(token)
    return Identity(
        supabase_id=token.uuid("sub"),
        session_id=token.uuid("session_id"),
        email=_read_email(token),
        expires_at=int(expires_at),
        aal=2 if token.claims.get("aal") == "aal2" else 1,
    )


def reject_forbidden(token: Jws) -> None:
    """Raise ForbiddenIdentity for an anonymous user, a third party's token or a foreign role.

    `read_identity` has accepted the token.
    """
    claims = token.claims
    if claims.get("is_anonymous") or claims["role"] != AUTHENTICATED or _is_for_client(token):
        raise ForbiddenIdentity


def _is_for_client(token: Jws) -> bool:
    """Whether the token has any mark of a third-party OAuth client.

    One is enough: `client_id` disappears when the client adds a second factor for the user.
    """
    if not CLIENT_CLAIMS.isdisjoint(token.claims):
        return True
    return any(method.startswith(CLIENT_METHODS) for method in _read_methods(token))


def _read_methods(token: Jws) -> list[str]:
    """Return the sign-in methods of `amr`: objects, or strings in older tokens. It may be null.

    Raises MalformedToken.
    """
    entries = token.claims.get("amr")
    if entries is None:
        return []
    if not isinstance(entries, list):
        raise MalformedToken
    methods: list[str] = []
    for entry in entries:
        method = entry.get("method") if isinstance(entry, dict) else entry
        if not isinstance(method, str):
            raise MalformedToken
        methods.append(method)
    return methods


def _is_for_users(audience: object) -> bool:
    audiences = audience if isinstance(audience, list) else [audience]
    return bool(audiences) and all(entry == AUTHENTICATED for entry in audiences)


def _read_email(token: Jws) -> str | None:
    """Return the normalised email, or None where there is none, as for users with a phone only."""
    raw = token.text("email") if "email" in token.claims else ""
    if not raw:
        return None
    email = normalize_email(raw) or ""
    local, _, domain = email.partition("@")
    if not local or not domain or "@" in domain or " " in email:
        raise MalformedToken
    if not raw.isprintable() or len(email) > EMAIL_MAX_LENGTH:
        raise MalformedToken
    return email
