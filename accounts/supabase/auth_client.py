"""The Auth server of a Supabase project: its client, and the keys that it publishes."""

import asyncio

import httpx
from jwt import PyJWK

from accounts.supabase.key_set import read_key_set

TIMEOUT = 3.0
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


class AuthClient:
    """`url` is the project's, without a slash at the end; `http` stays the caller's to close."""

    def __init__(self, *, url: str, http: httpx.AsyncClient, timeout: float = TIMEOUT) -> None:
        self.issuer = f"{url}/auth/v1"
        self._http = http
        self._timeout = timeout

    async def signing_keys(self) -> dict[str, PyJWK]:
        """Fetch the key set. Whatever it raises, there is no answer."""
        async with asyncio.timeout(self._timeout):
            response = await self._http.get(f"{self.issuer}/.well-known/jwks.json")
        return read_key_set(response.raise_for_status().content)
