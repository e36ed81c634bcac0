"""The identity in a Supabase access token, and the ways in which a token is rejected.

    Rejection
    ├── InvalidSupabaseToken   401  not a token, not correctly signed, expired or not valid yet
    ├── ForbiddenIdentity      403  correctly signed, but of a kind that is not accepted
    └── SupabaseUnavailable    503  Supabase must be asked and is unreachable

No rejection says which rule was broken, or contains any part of the token.
"""

from dataclasses import dataclass
from uuid import UUID

from accounts.jose import Jws, MalformedToken
from accounts.models import EMAIL_MAX_LENGTH, normalize_email
from megapolis.errors import ApiError, Forbidden, ServiceUnavailable, Unauthorized

LEEWAY = 30
"""Seconds by which Supabase's clock and ours may differ."""

LONGEST_LIFE = 24 * 60 * 60
"""Seconds that `exp` may be ahead. Rejects `anon` and `service_role` keys: they last ten years."""

AUTHENTICATED = "authenticated"
"""The audience and the role of a signed-in user."""

CLIENT_CLAIMS = frozenset({"client_id", "scope"})
"""Claims that only third-party OAuth clients' tokens have. Their values do not matter."""

CLIENT_METHODS = "oauth_provider/"
"""Prefix of the `amr` methods of third-party OAuth clients."""


class Rejection(ApiError):
    """A Supabase access token that is not accepted."""


class InvalidSupabaseToken(Rejection, Unauthorized):
    """Not a valid token of a user of this Supabase project."""

    detail = "Invalid Supabase access token"
    error = "invalid_token"


class ForbiddenIdentity(Rejection, Forbidden):
    """An anonymous user, a third-party OAuth client's token for the user, or another role."""

    detail = "This kind of Supabase user or token is not accepted"


class SupabaseUnavailable(Rejection, ServiceUnavailable):
    """Supabase Auth is needed to check the token, and does not respond."""

    detail = "Supabase Auth is temporarily unavailable"


@dataclass(frozen=True, slots=True)
class Identity:
    """A Supabase user in one of their Supabase sessions."""

    supabase_id: UUID
    """The `sub` claim. Only this identifies the user."""

    session_id: UUID
    """Supabase's session, which outlives the access token."""

    email: str | None
    """As `normalize_email` returns it. It may be unverified and may change."""

    expires_at: int
    """When the access token expires, in seconds since 1970."""

    aal: int = 1
    """Supabase's authenticator assurance level: 2 after a second factor, otherwise 1."""


def read_identity(token: Jws, *, now: float) -> Identity:
    """Check the claims that every access token of a user has, and return the identity.

    The caller checks `iss`, which decides whose key is used. `reject_forbidden` checks the kind of
    user. `now` is in seconds since 1970. Raises MalformedToken if a claim is missing, of the wrong
    type, of another audience, expired or not yet valid.
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

    Call `read_identity` first.
    """
    claims = token.claims
    if claims.get("is_anonymous") or claims["role"] != AUTHENTICATED or _is_for_client(token):
        raise ForbiddenIdentity


def _is_for_client(token: Jws) -> bool:
    """Return whether the token has any mark of a third-party OAuth client.

    One mark is enough: `client_id` disappears when the client adds a second factor for the user.
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
    """Return the normalised email, or None for users without one, such as phone users."""
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
