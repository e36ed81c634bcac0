"""The client of a project's Supabase Auth server."""

import asyncio

import httpx
from jwt import PyJWK

from accounts.supabase.key_set import read_key_set

TIMEOUT = 3.0
MAX_RESPONSE_BYTES = 64 * 1024
MAX_CONNECTIONS = 10
"""Most concurrent requests. Anyone can send legacy tokens that only Auth can check."""


class BoundedTransport(httpx.AsyncHTTPTransport):
    """Reads the whole response. Rejects one that is compressed or over MAX_RESPONSE_BYTES."""

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
    """Return an HTTP client with limits on size, time and connections. It follows no redirect."""
    limits = httpx.Limits(max_connections=MAX_CONNECTIONS)
    return httpx.AsyncClient(
        headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        timeout=TIMEOUT,
        transport=BoundedTransport(limits=limits, trust_env=False),
        trust_env=False,
    )


class AuthClient:
    """`url` is the project's, without a trailing slash. The caller closes `http`."""

    def __init__(self, *, url: str, http: httpx.AsyncClient, timeout: float = TIMEOUT) -> None:
        self.issuer = f"{url}/auth/v1"
        self._http = http
        self._timeout = timeout

    async def signing_keys(self) -> dict[str, PyJWK]:
        """Fetch the key set. Any exception means that the fetch failed."""
        async with asyncio.timeout(self._timeout):
            response = await self._http.get(f"{self.issuer}/.well-known/jwks.json")
        return read_key_set(response.raise_for_status().content)
