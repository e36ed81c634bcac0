"""The verifier of Supabase access tokens.

    from accounts import supabase

    identity = await supabase.verify(token)

`verifying()` belongs to the lifespan of the service. A token is read strictly, then its
claims are judged, then its signature; only then is anything said about its user. The network is
used for an unknown or aged key, and for legacy HS256 tokens when SUPABASE_JWT_SECRET is not set.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
from django.core.exceptions import ImproperlyConfigured
from jwt import PyJWK
from jwt.exceptions import InvalidKeyError

from accounts import jose
from accounts.auth_server import TIMEOUT, AuthServer, http_client
from accounts.identity import (
    ForbiddenIdentity,
    Identity,
    InvalidSupabaseToken,
    Refusal,
    SupabaseUnavailable,
    read_identity,
    refuse_forbidden,
)
from accounts.issuer import StandInIssuer, stand_in_issuer
from accounts.jose import Jws, MalformedToken, encode_base64url
from accounts.jwks import KeyCache
from megapolis import environment
from megapolis.logger import logger

__all__ = [
    "ForbiddenIdentity",
    "Identity",
    "InvalidSupabaseToken",
    "Refusal",
    "SupabaseUnavailable",
    "SupabaseVerifier",
    "verify",
    "verifying",
]

ALGORITHMS = frozenset({"ES256", "RS256", "EdDSA", "HS256"})


class SupabaseVerifier:
    """Checks the access tokens of one project, and in development those of the stand-in issuer.

    Without `jwt_secret` legacy HS256 tokens go to the Auth server, with `api_key`; without either
    they are refused. `clock` is in seconds since 1970. Raises ImproperlyConfigured when the
    settings contradict each other, or when the secret is a public key.
    """

    def __init__(  # noqa: PLR0913 - each is a setting of its own
        self,
        *,
        url: str,
        http: httpx.AsyncClient,
        jwt_secret: str = "",
        api_key: str = "",
        allow_unverified: bool = False,
        stand_in_issuer: StandInIssuer | None = None,
        timeout: float = TIMEOUT,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if allow_unverified and not url:
            raise ImproperlyConfigured("SUPABASE_ALLOW_UNVERIFIED needs SUPABASE_URL")
        self._http = http
        self._auth = AuthServer(url=url, http=http, timeout=timeout)
        self._keys = KeyCache(self._auth.signing_keys, monotonic=monotonic)
        self._secret = _secret_key(jwt_secret) if jwt_secret else None
        self._stand_in_keys = stand_in_issuer.keys if stand_in_issuer else {}
        self._legacy = None
        if url and api_key and not (jwt_secret or allow_unverified):
            # It takes 5 MiB, and 0.15 s that no request should wait for.
            from accounts.legacy import LegacyTokens  # noqa: PLC0415 - see above

            self._legacy = LegacyTokens(url=url, api_key=api_key, http=http, timeout=timeout)
        self._clock = clock
        self._checks: dict[str, Callable[[Jws], Awaitable[None]]] = {}
        if url:
            check = self._accept_unverified if allow_unverified else self._check_project
            self._checks[self._auth.issuer] = check
        if stand_in_issuer:
            self._checks[stand_in_issuer.iss] = self._check_stand_in
        if allow_unverified:
            logger.warning("SUPABASE_ALLOW_UNVERIFIED: anyone can sign in as anyone")

    async def verify(self, token: str | bytes) -> Identity:
        """Return whose token it is. Raises a Refusal, and nothing else, whatever the token."""
        try:
            jws = jose.parse(token if isinstance(token, str) else token.decode("latin-1"))
            identity = read_identity(jws, now=self._clock())
            check = self._checks.get(jws.text("iss"))
        except MalformedToken:
            raise InvalidSupabaseToken from None
        if check is None or jws.alg not in ALGORITHMS:
            raise InvalidSupabaseToken
        await check(jws)
        refuse_forbidden(jws)
        return identity

    def has_keys(self) -> bool:
        """Whether the project's keys were fetched once, or nobody needs them."""
        needed = self._checks.get(self._auth.issuer) == self._check_project
        return not needed or self._keys.are_known()

    async def aclose(self) -> None:
        """End what runs in the background, and close the HTTP client."""
        await self._keys.aclose()
        await self._http.aclose()

    async def _check_project(self, jws: Jws) -> None:
        if jws.alg != "HS256":
            _check_signature(jws, await self._keys.get(jws.kid) if jws.kid else None)
        elif self._secret:
            _check_signature(jws, self._secret)
        else:
            await self._ask_auth_server(jws)

    async def _ask_auth_server(self, jws: Jws) -> None:
        """Leave the verdict to Supabase Auth, sparing it the tokens that we refuse anyway."""
        refuse_forbidden(jws)
        if self._legacy is None:
            raise InvalidSupabaseToken
        await self._legacy.confirm(jws.encoded, user_id=jws.uuid("sub"))

    async def _check_stand_in(self, jws: Jws) -> None:
        _check_signature(jws, self._stand_in_keys.get(jws.kid) if jws.kid else None)

    async def _accept_unverified(self, _: Jws) -> None:
        logger.warning("SUPABASE_ALLOW_UNVERIFIED: a token is accepted without its signature")


def _check_signature(jws: Jws, key: PyJWK | None) -> None:
    """Check it with this key, by the algorithm that the key is for. The header has no say."""
    if key is None or key.algorithm_name != jws.alg:
        raise InvalidSupabaseToken
    if not key.Algorithm.verify(jws.signing_input, key.key, jws.signature):
        raise InvalidSupabaseToken


def _secret_key(secret: str) -> PyJWK:
    """Return the legacy secret as a key. A public key in its place would let anyone sign."""
    key = PyJWK({"kty": "oct", "k": encode_base64url(secret.encode()).decode()}, "HS256")
    try:
        key.Algorithm.prepare_key(secret)
    except InvalidKeyError:
        raise ImproperlyConfigured("SUPABASE_JWT_SECRET must not be a public key") from None
    return key


_verifier: SupabaseVerifier | None = None


def has_keys() -> bool:
    """Whether the project's keys are known, or not needed. If not, they are asked for."""
    return _verifier is None or _verifier.has_keys()


async def why_not_ready() -> str | None:
    """Return the reason for `/readyz` (`API_READINESS`), or None."""
    return None if has_keys() else "the keys of Supabase were not fetched yet"


@asynccontextmanager
async def verifying() -> AsyncIterator[None]:
    """Have the verifier of this process, as the environment says. It asks nobody anything yet."""
    global _verifier
    _verifier = SupabaseVerifier(
        url=environment.SUPABASE_URL,
        http=http_client(),
        jwt_secret=environment.SUPABASE_JWT_SECRET,
        api_key=environment.SUPABASE_SERVICE_ROLE_KEY,
        allow_unverified=environment.SUPABASE_ALLOW_UNVERIFIED,
        stand_in_issuer=stand_in_issuer() if environment.ENVIRONMENT == "development" else None,
    )
    try:
        yield
    finally:
        await _verifier.aclose()
        _verifier = None


async def verify(token: str | bytes) -> Identity:
    """Return whose Supabase access token it is.

    Raises InvalidSupabaseToken, ForbiddenIdentity or SupabaseUnavailable; RuntimeError before
    `verifying()`.
    """
    if _verifier is None:
        raise RuntimeError("the verifier is closed: use `async with supabase.verifying():`")
    return await _verifier.verify(token)
