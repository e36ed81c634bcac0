"""Our own access token: a JSON Web Token (RFC 7519) signed with HS256.

It is read as strictly as it is written: exactly our header and our claims, each of its type, no
leeway. It says who somebody was when it was issued; whether that still holds, the session row says
(`accounts.auth`).
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import time
from typing import Final

import jwt
from jwt import PyJWK

from accounts import jose
from megapolis import environment
from megapolis.errors import Unauthorized
from megapolis.fields import BIGINT_MAX

ALGORITHM: Final = "HS256"
ISSUER: Final = "megapolis"
AUDIENCE: Final = "megapolis-api"
LIFETIME: Final = timedelta(days=environment.JWT_LIFETIME_DAYS)
CLAIMS: Final = frozenset({"sub", "email", "exp", "iat", "iss", "aud", "sid"})


class InvalidToken(Unauthorized):
    """Not a token of ours that is in force. It never says why: that would help a forger only."""

    detail = "Invalid or expired token"
    error = "invalid_token"


@dataclass(frozen=True, slots=True)
class Claims:
    """What a valid token says."""

    user_id: int
    session_id: int
    expires_at: int


def issue(*, user_id: int, email: str | None, session_id: int, expires_at: datetime) -> str:
    """Return a new token, signed with the current key. Without an email the claim is empty."""
    claims = {
        "sub": str(user_id),
        "email": email or "",
        "exp": int(expires_at.timestamp()),
        "iat": int(time()),
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sid": str(session_id),
    }
    return jwt.encode(claims, _keys[0].key, algorithm=ALGORITHM)


def read(token: str) -> Claims:
    """Return what the token says, or raise `InvalidToken`."""
    try:
        return _read(token)
    except jose.MalformedToken:
        raise InvalidToken from None


def expiry() -> datetime:
    """Return when a session that starts now expires."""
    return datetime.now(UTC) + LIFETIME


def _read(token: str) -> Claims:
    parsed = jose.parse(token)
    if (parsed.alg, parsed.typ, parsed.kid) != (ALGORITHM, "JWT", None):
        raise jose.MalformedToken
    if not any(
        key.Algorithm.verify(parsed.signing_input, key.key, parsed.signature) for key in _keys
    ):
        raise jose.MalformedToken
    claims = parsed.claims
    if claims.keys() != CLAIMS or (claims["iss"], claims["aud"]) != (ISSUER, AUDIENCE):
        raise jose.MalformedToken
    expires_at, issued_at = claims["exp"], claims["iat"]
    if type(expires_at) is not int or type(issued_at) is not int:
        raise jose.MalformedToken
    if not issued_at <= time() < expires_at:
        raise jose.MalformedToken
    parsed.text("email")
    return Claims(_read_id(parsed, "sub"), _read_id(parsed, "sid"), expires_at)


def _read_id(token: jose.Jws, claim: str) -> int:
    """Return an id, which is written as `str` writes it."""
    text = token.text(claim)
    if not (text.isascii() and text.isdigit()) or text[0] == "0" or int(text) > BIGINT_MAX:
        raise jose.MalformedToken
    return int(text)


def _load_key(secret: str) -> PyJWK:
    """Prepare a key once: PyJWT would do it again at every call."""
    encoded = jose.encode_base64url(secret.encode()).decode()
    return PyJWK.from_dict({"kty": "oct", "k": encoded, "alg": ALGORITHM})


_keys: Final = [
    _load_key(secret)
    for secret in (environment.JWT_SECRET_KEY, *environment.JWT_SECRET_KEY_FALLBACKS)
]
