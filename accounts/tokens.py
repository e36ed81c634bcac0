"""Our own access token: a JSON Web Token (RFC 7519) signed with HS256.

It is read as strictly as it is written: exactly our header and our claims, each of its type, no
leeway. It says who somebody was when it was issued; whether that still holds, the session row says
(`accounts.auth`). It names that row by a random key: after a restore another row may have its id.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import time
from typing import Final
from uuid import UUID

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
REMEMBERED: Final = 4096
"""How many tokens are kept as verified; at 500 bytes each, 2 MiB."""
CLAIMS: Final = frozenset({"sub", "email", "exp", "iat", "iss", "aud", "sid"})
ID: Final = re.compile(r"[1-9][0-9]{0,18}")
"""As `str` writes the id of a row. A bigint has 19 digits at most."""


class InvalidToken(Unauthorized):
    """Not a token of ours that is in force. It never says why: that would help a forger only."""

    detail = "Invalid or expired token"
    error = "invalid_token"


@dataclass(frozen=True, slots=True)
class Claims:
    """What a valid token says."""

    user_id: int
    session_key: str
    expires_at: int


def load_keys(*secrets: str) -> list[PyJWK]:
    """Prepare the keys once: PyJWT would do it again at every call. The first one signs."""
    octets = [jose.encode_base64url(secret.encode()).decode() for secret in secrets]
    return [PyJWK.from_dict({"kty": "oct", "k": k, "alg": ALGORITHM}) for k in octets]


_verified: Final[dict[str, Claims]] = {}
_keys = load_keys(environment.JWT_SECRET_KEY, *environment.JWT_SECRET_KEY_FALLBACKS)


def issue(*, user_id: int, email: str | None, session_key: UUID, expires_at: datetime) -> str:
    """Return a new token, signed with the current key. Without an email the claim is empty."""
    claims = {
        "sub": str(user_id),
        "email": email or "",
        "exp": int(expires_at.timestamp()),
        "iat": int(time()),
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sid": str(session_key),
    }
    return jwt.encode(claims, _keys[0].key, algorithm=ALGORITHM)


def read(token: str) -> Claims:
    """Return what the token says, or raise `InvalidToken`.

    A token that was read before costs a look into a dictionary, for its text does not change its
    meaning; only its expiry must be looked at again.
    """
    claims = _verified.get(token)
    if claims is not None and time() < claims.expires_at:
        return claims
    try:
        claims = _read(token)
    except jose.MalformedToken:
        raise InvalidToken from None
    if len(_verified) >= REMEMBERED:
        del _verified[next(iter(_verified))]
    _verified[token] = claims
    return claims


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
    return Claims(
        user_id=_read_id(parsed, "sub"),
        session_key=str(parsed.uuid("sid")),
        expires_at=expires_at,
    )


def _read_id(token: jose.Jws, claim: str) -> int:
    text = token.text(claim)
    if not ID.fullmatch(text) or int(text) > BIGINT_MAX:
        raise jose.MalformedToken
    return int(text)
