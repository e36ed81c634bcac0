"""How long the public keys of a Supabase project are believed.

- One fetch at a time, whoever waits for it. A caller that goes away does not end it.
- From 5 minutes of age on, the keys are refreshed in the background, and nobody waits.
- From 10 minutes of age on, no key is used without having asked again.
- If asking fails, the known keys stay good until they are a day old.
- No two fetches start within 30 seconds, whatever asks for them and however the first one ended.
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
    """The keys by `kid`. Belongs to one event loop; `monotonic` is in seconds.

    `fetch` bounds its own time. Whatever it raises counts as no answer, and so does an empty set
    as long as there are keys: an Auth server that forgot its keys must not sign everybody out.
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
        """Return the key, or None when the project has none of this `kid`.

        Raises SupabaseUnavailable when that cannot be said for now.
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
        """Whether they were fetched once. If not, a fetch begins unless it is too early for one."""
        if self._fetched_at == -math.inf:
            self._start_refresh()
        return self._fetched_at > -math.inf

    async def aclose(self) -> None:
        """End the refresh that may be under way."""
        if self._refresh is not None and self._refresh.cancel():
            await asyncio.wait([self._refresh])

    def _age(self) -> float:
        return self._monotonic() - self._fetched_at

    async def _ask(self) -> None:
        refresh = self._start_refresh()
        if refresh is not None:
            await asyncio.wait([refresh])

    def _start_refresh(self) -> asyncio.Task[None] | None:
        """Return the refresh under way, a new one, or None if it is too early for a new one."""
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
