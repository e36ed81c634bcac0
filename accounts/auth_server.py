"""The Auth server of a Supabase project, as far as this service asks it anything."""

import asyncio
from uuid import UUID

import httpx
from jwt import PyJWK
from supabase import AsyncClient, AsyncClientOptions, acreate_client
from supabase_auth.errors import AuthApiError, AuthError

from accounts.identity import ForbiddenIdentity, InvalidSupabaseToken, Refusal, SupabaseUnavailable
from accounts.keys import read_key_set
from megapolis.logger import logger

TIMEOUT = 3.0
RETRY_AFTER = 5
MAX_RESPONSE_BYTES = 64 * 1024
MAX_CONNECTIONS = 10
"""Anyone can forge a legacy token that only Auth can judge: no more of them there at once."""


class BoundedTransport(httpx.AsyncHTTPTransport):
    """Reads each answer whole, refusing one that is compressed or over MAX_RESPONSE_BYTES."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        body = bytearray()
        try:
            if "content-encoding" in response.headers:
                raise httpx.DecodingError("compressed, though not asked for")
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > MAX_RESPONSE_BYTES:
                    raise httpx.ReadError("the answer is too long")
        finally:
            await response.aclose()
        return httpx.Response(response.status_code, headers=response.headers, content=bytes(body))


def http_client() -> httpx.AsyncClient:
    """Return the client for Supabase: bounded in size, time and number, following no redirect."""
    limits = httpx.Limits(max_connections=MAX_CONNECTIONS)
    return httpx.AsyncClient(
        headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        timeout=TIMEOUT,
        transport=BoundedTransport(limits=limits, trust_env=False),
        trust_env=False,
    )


class AuthServer:
    """`url` is the project's, without a slash at the end; `http` stays the caller's to close."""

    def __init__(
        self, *, url: str, api_key: str, http: httpx.AsyncClient, timeout: float = TIMEOUT
    ) -> None:
        self.issuer = f"{url}/auth/v1"
        self._url = url
        self._api_key = api_key
        self._http = http
        self._timeout = timeout
        self._client: AsyncClient | None = None

    async def signing_keys(self) -> dict[str, PyJWK]:
        """Fetch the key set. Whatever it raises, there is no answer."""
        async with asyncio.timeout(self._timeout):
            response = await self._http.get(f"{self.issuer}/.well-known/jwks.json")
        return read_key_set(response.raise_for_status().content)

    async def confirm(self, token: str, *, user_id: UUID) -> None:
        """Ask whether the token is good, now, and this user's. Raises a Refusal if it is not."""
        refusal = await self._ask(token, user_id)
        if refusal is not None:
            raise refusal

    async def _ask(self, token: str, user_id: UUID) -> Refusal | None:
        try:
            async with asyncio.timeout(self._timeout):
                client = await self._open_client()
                answer = await client.auth.get_user(token)
        except AuthApiError as error:
            return _refusal(error)
        except (AuthError, httpx.HTTPError, TimeoutError, ValueError) as error:
            logger.warning("Supabase Auth gives no verdict ({})", type(error).__name__)
            return SupabaseUnavailable(retry_after=RETRY_AFTER)
        if answer is None or answer.user.id != str(user_id):
            return InvalidSupabaseToken()
        return None

    async def _open_client(self) -> AsyncClient:
        if self._client is None:
            options = AsyncClientOptions(httpx_client=self._http)
            self._client = await acreate_client(self._url, self._api_key, options)
        return self._client


def _refusal(error: AuthApiError) -> Refusal:
    """Tell Auth's verdicts on a token, which carry a code, from its troubles with itself or us.

    A wrong API key is refused by the gateway before Auth, with 401 and no code.
    """
    if error.status not in {401, 403} or error.code is None:
        logger.error("Supabase Auth refuses to give a verdict (status {})", error.status)
        return SupabaseUnavailable(retry_after=RETRY_AFTER)
    return ForbiddenIdentity() if error.code == "user_banned" else InvalidSupabaseToken()
