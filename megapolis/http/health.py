"""What a supervisor and a load balancer ask: is the process alive, and should it get requests?

- `/livez` says that the event loop turns. It asks nobody, so that an outage of the database does
  not get healthy processes killed.
- `/readyz` says 200 if no check in `settings.API_READINESS` has a reason against it, and 503
  otherwise: when the service stops, when the database cannot be used, and until the keys of the
  Supabase project were fetched once. The checks run each time it is asked.

They need no token, are not limited or logged, and answer to every `Host`, for a probe often knows
an address only. They are not in the OpenAPI document, which is for clients of the API. Whoever
asks learns "ready" or "not ready"; the reason is in the log.
"""

import asyncio
from typing import Any, Final

from django.conf import settings
from django.utils.module_loading import import_string

from megapolis.environment import limits
from megapolis.http.prepared_response import PreparedResponse, Send, prepared_problem
from megapolis.logger import logger

JSON: Final = {"Content-Type": "application/json"}
ALIVE: Final = PreparedResponse(200, b'{"status":"alive"}', JSON)
READY: Final = PreparedResponse(200, b'{"status":"ready"}', JSON)
NOT_READY: Final = prepared_problem(503, "Not ready", {"Retry-After": "1"})
NOT_ALLOWED: Final = prepared_problem(405, "Not supported here", {"Allow": "GET, HEAD"})

PATHS: Final = frozenset({"/livez", "/readyz"})


async def answer(scope: dict[str, Any], send: Send) -> None:
    """Answer a request for one of `PATHS`."""
    if scope["method"] not in {"GET", "HEAD"}:
        await NOT_ALLOWED(send)
    elif scope["path"] == "/livez":
        await ALIVE(send)
    elif await readiness.holds():
        await READY(send)
    else:
        await NOT_READY(send)


class Readiness:
    """Finds out at most once at a time, however many ask, and logs when the answer changes."""

    def __init__(self) -> None:
        self._was: str | None = "never asked"
        self._finding: asyncio.Task[str | None] | None = None

    async def holds(self) -> bool:
        """Whether this process should get requests."""
        if self._finding is None or self._finding.done():
            self._finding = asyncio.create_task(self._find())
        # One who stops waiting must not take the answer from the others.
        return await asyncio.shield(self._finding) is None

    async def _find(self) -> str | None:
        reason = await self._reason()
        if reason != self._was:
            logger.info("Not ready: {}" if reason else "Ready", reason)
            self._was = reason
        return reason

    async def _reason(self) -> str | None:
        """Return why it is not ready, or None. A check that fails or hangs is a reason, too."""
        for path in settings.API_READINESS:
            try:
                async with asyncio.timeout(limits.ANSWER_TIMEOUT):
                    reason: str | None = await import_string(path)()
            except Exception as exc:  # noqa: BLE001 - a feature's check may raise anything
                reason = f"{path} failed: {type(exc).__name__}: {exc}"
            if reason:
                return reason
        return None


readiness = Readiness()
