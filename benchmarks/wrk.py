"""Runs wrk and reads what it measured."""

import json
import shutil
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path

from benchmarks.placement import Cores, children_on

SCRIPT = Path(__file__).with_name("wrk.lua")


class LoadError(Exception):
    """wrk is missing, or it said something unexpected."""


@dataclass(frozen=True)
class Target:
    """Whom to ask, and as whom."""

    url: str
    tokens: list[str]
    """Of those who ask, in turn. `owner=me` is asked for by the first, who owns a tenth."""
    widgets: int
    """The ids 1 to this number exist."""


@dataclass(frozen=True)
class Measurement:
    """One run of wrk."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    rejected: int
    """Responses of 400 and above."""
    failed: int
    """Requests without a response. Any voids the measurement."""
    cpu_us: float = 0.0
    """Processor time of the server for each request, in microseconds. Other processes do not
    disturb it much, so that it says something even on a busy machine."""

    @property
    def rate(self) -> float:
        """Served requests per second."""
        return (self.requests - self.rejected) / self.seconds


def require_wrk() -> str:
    """Return the path of wrk, or raise LoadError that says how to install it."""
    path = shutil.which("wrk")
    if path is None:
        raise LoadError("wrk is not installed. On Debian and Ubuntu: apt-get install wrk")
    return path


def measure(
    target: Target, kind: str, *, connections: int, seconds: float, cores: Cores
) -> Measurement:
    """Load the target with one kind of request and return what was measured.

    `kind` is "one" (ids all over the table), "post" (new names), or the query string of a list.
    One thread of wrk makes more requests than any of the servers answers.
    """
    tokens = target.tokens[:1] if "owner=me" in kind else target.tokens
    prefix = uuid.uuid4().hex[:12]
    command = [
        *(require_wrk(), "--threads", "1", "--connections", str(connections)),
        *("--duration", f"{max(1, round(seconds))}s", "--timeout", "10s"),
        *("--script", str(SCRIPT), target.url, "--"),
        *(kind, ",".join(tokens), prefix, str(target.widgets)),
    ]
    with children_on(cores):
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    line = next((text for text in result.stdout.splitlines() if text.startswith("{")), None)
    if line is None:
        raise LoadError(f"wrk failed: {result.stderr or result.stdout}")
    return Measurement(**json.loads(line))
