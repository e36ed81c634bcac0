"""Legacy HS256 tokens whose secret is not configured: the Auth server checks them.

The verifier imports this module, and with it the Supabase client, only if it is needed.
"""

import asyncio
from uuid import UUID

import httpx
from supabase import AsyncClient, AsyncClientOptions, acreate_client
from supabase_auth.errors import AuthApiError, AuthError

from accounts.supabase.auth_client import TIMEOUT
from accounts.supabase.identity import (
    ForbiddenIdentity,
    InvalidSupabaseToken,
    Rejection,
    SupabaseUnavailable,
)
from megapolis.logger import logger

RETRY_AFTER = 5


class LegacyTokens:
    """`url` is the project's, without a trailing slash. The caller closes `http`."""

    def __init__(
        self, *, url: str, api_key: str, http: httpx.AsyncClient, timeout: float = TIMEOUT
    ) -> None:
        self._url = url
        self._api_key = api_key
        self._http = http
        self._timeout = timeout
        self._client: AsyncClient | None = None

    async def confirm(self, token: str, *, user_id: UUID) -> None:
        """Ask Auth whether the token is valid and the user's. Raises a Rejection if not."""
        rejection = await self._ask(token, user_id)
        if rejection is not None:
            raise rejection

    async def _ask(self, token: str, user_id: UUID) -> Rejection | None:
        try:
            async with asyncio.timeout(self._timeout):
                client = await self._open_client()
                response = await client.auth.get_user(token)
        except AuthApiError as error:
            return _rejection(error)
        except (AuthError, httpx.HTTPError, TimeoutError, ValueError) as error:
            logger.warning("Supabase Auth did not check a token ({})", type(error).__name__)
            return SupabaseUnavailable(retry_after=RETRY_AFTER)
        if response is None or response.user.id != str(user_id):
            return InvalidSupabaseToken()
        return None

    async def _open_client(self) -> AsyncClient:
        if self._client is None:
            options = AsyncClientOptions(httpx_client=self._http)
            self._client = await acreate_client(self._url, self._api_key, options)
        return self._client


def _rejection(error: AuthApiError) -> Rejection:
    """Return the rejection for an error of Auth. Only an error with a code is about the token.

    The gateway in front of Auth rejects a wrong API key with 401 and no code.
    """
    if error.status not in {401, 403} or error.code is None:
        logger.error("Supabase Auth did not check a token (status {})", error.status)
        return SupabaseUnavailable(retry_after=RETRY_AFTER)
    return ForbiddenIdentity() if error.code == "user_banned" else InvalidSupabaseToken()
