"""Writes what a comparison measured: raw data as JSON, a table in Markdown, and the chart."""

import json
import platform
import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median

import psutil

from benchmarks.bench import Conditions
from benchmarks.chart import draw
from benchmarks.compare import REQUESTS, Result

PACKAGES = (
    *("django", "django-ninja", "django-bolt", "fastapi", "sqlalchemy", "asyncpg", "psycopg"),
    *("uvicorn", "uvloop", "httptools", "pydantic", "msgspec", "orjson"),
)
RIVALS = ("fastapi", "ninja", "bolt")


def write(folder: Path, name: str, results: dict[str, Result], conditions: Conditions) -> None:
    """Write `name`.json, `name`.md and `name`.svg into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = environment(conditions)
    raw = {
        "environment": facts,
        "results": {key: asdict(result) for key, result in results.items()},
    }
    (folder / f"{name}.json").write_text(json.dumps(raw, indent=1) + "\n")
    sections = [rates(results), ratios(results), costs(results), latencies(results)]
    (folder / f"{name}.md").write_text("\n\n".join(filter(None, [*sections, listed(facts)])) + "\n")
    (folder / f"{name}.svg").write_text(draw(results))


def environment(conditions: Conditions) -> dict[str, str]:
    """Return what the figures depend on."""
    wrk = subprocess.run(["wrk", "--version"], capture_output=True, text=True, check=False)
    return {
        "measured": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": f"{_processor()}, {psutil.cpu_count()} cores, {platform.system()}",
        "placement": str(conditions.placement),
        "rounds": f"{conditions.rounds} of {conditions.seconds:g} s, median",
        "load average before": f"{conditions.load_before:.2f}",
        "connections": str(conditions.connections),
        "pool": f"{conditions.pool} database connections",
        "Python": platform.python_version(),
        "packages": ", ".join(f"{name} {version(name)}" for name in PACKAGES),
        "wrk": wrk.stdout.split(" [")[0].removeprefix("wrk "),
    }


def listed(facts: dict[str, str]) -> str:
    """Return them as a list in Markdown."""
    return "\n".join(f"- {key}: {value}" for key, value in facts.items())


def rates(results: dict[str, Result]) -> str:
    """Return the table of requests per second and memory."""
    lines = [_row("requests per second", *REQUESTS, "RSS", "PSS", "start")]
    lines.append(_row("---", *["---:"] * (len(REQUESTS) + 3)))
    for result in results.values():
        figures = [f"{result.rate(request):,.0f}" for request in REQUESTS]
        memory = [f"{max(result.rss_mib):.0f} MiB", f"{max(result.pss_mib):.0f} MiB"]
        lines.append(_row(result.title, *figures, *memory, f"{min(result.started_in):.2f} s"))
    return "\n".join(lines)


def costs(results: dict[str, Result]) -> str:
    """Return the table of processor time."""
    titles = [
        _row("server's CPU per request, µs", *REQUESTS),
        _row("---", *["---:"] * len(REQUESTS)),
    ]
    rows = [
        _row(result.title, *[f"{result.cpu(name):,.0f}" for name in REQUESTS])
        for result in results.values()
    ]
    return "\n".join([*titles, *rows])


def latencies(results: dict[str, Result]) -> str:
    """Return the table of latencies."""
    lines = [_row("latency p50 / p99, ms", *REQUESTS), _row("---", *["---:"] * len(REQUESTS))]
    for result in results.values():
        figures = [f"{result.p50(name):.1f} / {result.p99(name):.1f}" for name in REQUESTS]
        lines.append(_row(result.title, *figures))
    return "\n".join(lines)


def ratios(results: dict[str, Result]) -> str:
    """Return the table of the service's ratios to its peers, or nothing without the service.

    A ratio is the median of the rounds' ratios, with the least and the greatest of them.
    """
    ours, rivals = results.get("megapolis"), [results[name] for name in RIVALS if name in results]
    if ours is None or not rivals:
        return ""
    lines = [_row("ratio", *REQUESTS, "goal"), _row("---", *["---:"] * len(REQUESTS), "---")]
    best = [
        _ratio(ours, max(rivals, key=lambda rival: rival.rate(request)), request, "rate")
        for request in REQUESTS
    ]
    lines.append(_row("rate, to the best framework", *best, "at least 3.0"))
    if floor := results.get("hand-written"):
        rates = [_ratio(ours, floor, request, "rate") for request in REQUESTS]
        lines.append(_row("rate, to the floor", *rates, "at least 0.70, lists 0.60"))
    if fastapi := results.get("fastapi"):
        tails = [_ratio(ours, fastapi, request, "p99_ms") for request in REQUESTS]
        lines.append(_row("p99, to FastAPI", *tails, "at most 0.33"))
        memory = f"{max(ours.rss_mib) / max(fastapi.rss_mib):.2f}"
        lines.append(_row("RSS, to FastAPI", *[memory] * len(REQUESTS), "at most 1.00"))
    return "\n".join(lines)


def _ratio(ours: Result, other: Result, request: str, figure: str) -> str:
    pairs = zip(ours.measurements[request], other.measurements[request], strict=True)
    found = [getattr(mine, figure) / getattr(theirs, figure) for mine, theirs in pairs]
    spread = f" ({min(found):.2f}-{max(found):.2f})" if len(found) > 1 else ""
    return f"{median(found):.2f}{spread}"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _processor() -> str:
    names = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return names[0] if names else platform.machine()
