"""Our own access token: a JSON Web Token (RFC 7519) signed with HS256.

Only our exact header and claims are accepted, each of its type, without leeway. Whether the session
is still valid is in the session row (`accounts.auth`). The token names that row by a random key,
because another row may have its id after a restore.
"""

import hmac
import re
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from time import time
from typing import Final
from uuid import UUID

import jwt

from accounts import jose
from megapolis import environment
from megapolis.errors import Unauthorized
from megapolis.rest import BIGINT_MAX

ALGORITHM: Final = "HS256"
ISSUER: Final = "megapolis"
AUDIENCE: Final = "megapolis-api"
LIFETIME: Final = timedelta(days=environment.JWT_LIFETIME_DAYS)
CACHE_SIZE: Final = 65_536
"""How many verified tokens are cached: 22 MiB per worker."""
CLAIMS: Final = frozenset({"sub", "email", "exp", "iat", "iss", "aud", "sid"})
ID: Final = re.compile(r"[1-9][0-9]{0,18}")
"""A row id as `str` writes it. A bigint has at most 19 digits."""


class InvalidToken(Unauthorized):
    """Not a valid token of ours. It never says why, because only a forger would profit."""

    detail = "Invalid or expired token"
    error = "invalid_token"


@dataclass(frozen=True, slots=True)
class Claims:
    """What a valid token says."""

    user_id: int
    session_key: str
    expires_at: int


_verified: Final[OrderedDict[bytes, Claims]] = OrderedDict()
"""By the SHA-256 digest of the token, which is shorter than the token. The oldest is first."""
_secrets = [
    secret.encode()
    for secret in (environment.JWT_SECRET_KEY, *environment.JWT_SECRET_KEY_FALLBACKS)
]
"""The first one signs."""


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
    return jwt.encode(claims, _secrets[0], algorithm=ALGORITHM)


def read(token: str) -> Claims:
    """Return what the token says, or raise `InvalidToken`.

    The text of a token does not change its meaning, so a verified token is cached. Only its expiry
    is checked again.
    """
    if len(token) > jose.MAX_TOKEN_LENGTH:
        raise InvalidToken from None
    digest = sha256(token.encode("utf-8", "surrogatepass")).digest()
    claims = _verified.get(digest)
    if claims is not None and time() < claims.expires_at:
        return claims
    try:
        claims = _read(token)
    except jose.MalformedToken:
        raise InvalidToken from None
    if len(_verified) >= CACHE_SIZE:
        _verified.popitem(last=False)
    _verified[digest] = claims
    return claims


def expiry() -> datetime:
    """Return when a session that starts now expires."""
    return datetime.now(UTC) + LIFETIME


def _read(token: str) -> Claims:
    parsed = jose.parse(token)
    if (parsed.alg, parsed.typ, parsed.kid) != (ALGORITHM, "JWT", None):
        raise jose.MalformedToken
    if not _is_signed(parsed):
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


def _is_signed(token: jose.Jws) -> bool:
    """Whether one of the keys made the signature: HMAC with SHA-256 (RFC 7518, section 3.2)."""
    digests = (hmac.digest(secret, token.signing_input, "sha256") for secret in _secrets)
    return any(hmac.compare_digest(digest, token.signature) for digest in digests)


def _read_id(token: jose.Jws, claim: str) -> int:
    text = token.text(claim)
    if not ID.fullmatch(text) or int(text) > BIGINT_MAX:
        raise jose.MalformedToken
    return int(text)
