"""Verification of Supabase access tokens.

A token is parsed, then its claims are checked, then its signature. Only then may an error say
anything about the user. The network is used for an unknown or old key, and for legacy HS256 tokens
when SUPABASE_JWT_SECRET is not set.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
from django.core.exceptions import ImproperlyConfigured
from jwt import PyJWK
from jwt.exceptions import InvalidKeyError

from accounts import jose
from accounts.jose import Jws, MalformedToken
from accounts.supabase.auth_client import TIMEOUT, AuthClient, http_client
from accounts.supabase.identity import (
    Identity,
    InvalidSupabaseToken,
    read_identity,
    reject_forbidden,
)
from accounts.supabase.key_cache import KeyCache
from accounts.supabase.stand_in import StandInIssuer, stand_in_issuer
from megapolis import environment
from megapolis.encoding import encode_base64url
from megapolis.logger import logger

ALGORITHMS = frozenset({"ES256", "RS256", "EdDSA", "HS256"})


class SupabaseVerifier:
    """Checks the access tokens of one project, and in development those of the stand-in issuer.

    Without `jwt_secret` legacy HS256 tokens go to the Auth server, with `api_key`; without either
    they are rejected. `clock` is in seconds since 1970. Raises ImproperlyConfigured when the
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
        self._client = AuthClient(url=url, http=http, timeout=timeout)
        self._keys = KeyCache(self._client.signing_keys, monotonic=monotonic)
        self._secret = _secret_key(jwt_secret) if jwt_secret else None
        self._stand_in_keys = stand_in_issuer.keys if stand_in_issuer else {}
        self._legacy = None
        if url and api_key and not (jwt_secret or allow_unverified):
            # The import takes 5 MiB and 0.15 s, too long for a request.
            from accounts.supabase.legacy import LegacyTokens  # noqa: PLC0415 - see above

            self._legacy = LegacyTokens(url=url, api_key=api_key, http=http, timeout=timeout)
        self._clock = clock
        self._checks: dict[str, Callable[[Jws], Awaitable[None]]] = {}
        if url:
            check = self._accept_unverified if allow_unverified else self._check_project
            self._checks[self._client.issuer] = check
        if stand_in_issuer:
            self._checks[stand_in_issuer.iss] = self._check_stand_in
        if allow_unverified:
            logger.warning("SUPABASE_ALLOW_UNVERIFIED: anyone can sign in as anyone")

    async def verify(self, token: str | bytes) -> Identity:
        """Return the identity in the token. Raises only `Rejection`, whatever the token."""
        try:
            jws = jose.parse(token if isinstance(token, str) else token.decode("latin-1"))
            identity = read_identity(jws, now=self._clock())
            check = self._checks.get(jws.text("iss"))
        except MalformedToken:
            raise InvalidSupabaseToken from None
        if check is None or jws.alg not in ALGORITHMS:
            raise InvalidSupabaseToken
        await check(jws)
        reject_forbidden(jws)
        return identity

    def has_keys(self) -> bool:
        """Return whether the project's keys were ever fetched, or are not needed."""
        needed = self._checks.get(self._client.issuer) == self._check_project
        return not needed or self._keys.are_known()

    async def aclose(self) -> None:
        """Cancel background tasks and close the HTTP client."""
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
        """Ask Supabase Auth, unless the token is of a forbidden kind anyway."""
        reject_forbidden(jws)
        if self._legacy is None:
            raise InvalidSupabaseToken
        await self._legacy.confirm(jws.encoded, user_id=jws.uuid("sub"))

    async def _check_stand_in(self, jws: Jws) -> None:
        _check_signature(jws, self._stand_in_keys.get(jws.kid) if jws.kid else None)

    async def _accept_unverified(self, _: Jws) -> None:
        logger.warning("SUPABASE_ALLOW_UNVERIFIED: a token is accepted without its signature")


def _check_signature(jws: Jws, key: PyJWK | None) -> None:
    """Check the signature with the algorithm of the key. The header must name the same one."""
    if key is None or key.algorithm_name != jws.alg:
        raise InvalidSupabaseToken
    if not key.Algorithm.verify(jws.signing_input, key.key, jws.signature):
        raise InvalidSupabaseToken


def _secret_key(secret: str) -> PyJWK:
    """Return the legacy secret as a key. Rejects a public key: anyone could sign with it."""
    key = PyJWK({"kty": "oct", "k": encode_base64url(secret.encode()).decode()}, "HS256")
    try:
        key.Algorithm.prepare_key(secret)
    except InvalidKeyError:
        raise ImproperlyConfigured("SUPABASE_JWT_SECRET must not be a public key") from None
    return key


_verifier: SupabaseVerifier | None = None


def has_keys() -> bool:
    """Return whether the project's keys are known or not needed. If not, start a fetch."""
    return _verifier is None or _verifier.has_keys()


async def why_not_ready() -> str | None:
    """Return the reason for `/readyz` (`API_READINESS`), or None."""
    return None if has_keys() else "the keys of Supabase were not fetched yet"


@asynccontextmanager
async def verifying() -> AsyncIterator[None]:
    """Keep a verifier for this process, configured by the environment. Sends no request yet."""
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
    """Return the identity in a Supabase access token.

    Raises InvalidSupabaseToken, ForbiddenIdentity or SupabaseUnavailable; RuntimeError before
    `verifying()`.
    """
    if _verifier is None:
        raise RuntimeError("the verifier is closed: use `async with supabase.verifying():`")
    return await _verifier.verify(token)
