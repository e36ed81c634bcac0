"""The cache of the public keys of a Supabase project.

- One fetch runs at a time, and all callers share it. Cancelling a caller does not cancel it.
- Keys older than 5 minutes are refreshed in the background.
- Keys older than 10 minutes are used only after another attempt to fetch.
- If that attempt fails, the cached keys are used until they are a day old.
- At least 30 seconds pass between two attempts, even if the first one failed.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping

from jwt import PyJWK

from accounts.supabase.identity import SupabaseUnavailable
from megapolis.logger import logger

REFRESH_AFTER = 5 * 60
ASK_AFTER = 10 * 60
KEEP_FOR = 24 * 60 * 60
PAUSE = 30


class KeyCache:
    """Keys by `kid`. Use it in one event loop only; `monotonic` returns seconds.

    `fetch` must have a timeout of its own. An exception is a failed fetch. So is an empty set while
    keys are cached: an Auth server that lost its keys must not sign everybody out.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[Mapping[str, PyJWK]]],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._monotonic = monotonic
        self._keys: Mapping[str, PyJWK] = {}
        self._fetched_at = self._asked_at = -math.inf
        self._refresh: asyncio.Task[None] | None = None

    async def get(self, kid: str) -> PyJWK | None:
        """Return the key, or None if the project has no key with this `kid`.

        Raises SupabaseUnavailable while that is not known.
        """
        age = self._age()
        if kid not in self._keys or age >= ASK_AFTER:
            await self._ask()
        elif age >= REFRESH_AFTER:
            self._start_refresh()
        key = self._keys.get(kid)
        last_attempt_failed = self._fetched_at < self._asked_at
        if self._age() >= KEEP_FOR or (key is None and last_attempt_failed):
            pause = self._asked_at + PAUSE - self._monotonic()
            raise SupabaseUnavailable(retry_after=max(1, math.ceil(pause)))
        return key

    def are_known(self) -> bool:
        """Return whether keys were ever fetched. If not, start a fetch unless it is too early."""
        if self._fetched_at == -math.inf:
            self._start_refresh()
        return self._fetched_at > -math.inf

    async def aclose(self) -> None:
        """Cancel a running refresh."""
        if self._refresh is not None and self._refresh.cancel():
            await asyncio.wait([self._refresh])

    def _age(self) -> float:
        return self._monotonic() - self._fetched_at

    async def _ask(self) -> None:
        refresh = self._start_refresh()
        if refresh is not None:
            await asyncio.wait([refresh])

    def _start_refresh(self) -> asyncio.Task[None] | None:
        """Return the running refresh or a new one. None if it is too early for a new one."""
        if self._refresh is not None and not self._refresh.done():
            return self._refresh
        now = self._monotonic()
        if now - self._asked_at < PAUSE:
            return None
        self._asked_at = now
        self._refresh = asyncio.create_task(self._replace_keys())
        return self._refresh

    async def _replace_keys(self) -> None:
        try:
            keys = await self._fetch()
        except Exception as error:  # noqa: BLE001 - nothing may take the known keys away
            logger.warning("Supabase's keys cannot be fetched ({})", type(error).__name__)
            return
        if not keys and self._keys and self._age() < KEEP_FOR:
            logger.warning("Supabase answers with no keys at all; the known ones stay in use")
            return
        self._keys, self._fetched_at = keys, self._asked_at
