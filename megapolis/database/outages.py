"""Recent errors that the server is to blame for, and what the log says about them.

An error is logged once per series, however many requests meet it. Readiness asks here for states
that its own query does not notice, such as a full disk.
"""

import math
import time
from typing import Final

from megapolis.logger import logger

LASTS: Final = 5.0
"""Seconds after the last error of a kind until it counts as over."""

noted: dict[str, float] = {}
"""When each SQLSTATE was last seen that keeps this process from being ready."""
_last_seen: dict[str, float] = {}
_is_away = False


def note(sqlstate: str, message: str, *, fails_readiness: bool) -> None:
    """Remember an error, and log it if it is the first of a series."""
    if _begins(sqlstate):
        first_line = message.strip().partition("\n")[0]
        logger.error("PostgreSQL reports {}: {}", sqlstate, first_line)
    if fails_readiness:
        noted[sqlstate] = time.monotonic()


def exhausted(waiting: int) -> None:
    """Log that a caller got no connection in time, if it is the first of a series."""
    if _begins("exhausted"):
        logger.warning("All connections to PostgreSQL are busy, and {} wait", waiting)


def _begins(series: str) -> bool:
    now = time.monotonic()
    last = _last_seen.get(series, -math.inf)
    _last_seen[series] = now
    return now - last > LASTS


def end() -> None:
    """Forget what failed readiness: a write has succeeded."""
    noted.clear()


def failing() -> str | None:
    """Return the SQLSTATE that keeps this process from being ready, if there is one."""
    recently = time.monotonic() - LASTS
    return next((code for code, seen in noted.items() if seen > recently), None)


def connecting_failed(exc: Exception) -> None:
    """Log that PostgreSQL cannot be reached, once until it can be."""
    global _is_away
    if not _is_away:
        reason = " ".join(str(exc).split()) or type(exc).__name__
        logger.error("PostgreSQL is away: {}", reason)
    _is_away = True


def connected() -> None:
    """Log that PostgreSQL can be reached again."""
    global _is_away
    if _is_away:
        logger.info("PostgreSQL is back")
    _is_away = False
