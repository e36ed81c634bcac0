"""Writes what a comparison measured: raw data as JSON, a table in Markdown, and the chart."""

import json
import platform
import shutil
import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median

import psutil

from benchmarks.bench import Conditions
from benchmarks.catalogue import NODE
from benchmarks.chart import draw
from benchmarks.compare import REQUESTS, Result
from benchmarks.database import CHECKOUT

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
    return {
        "measured": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": f"{_processor()}, {psutil.cpu_count()} cores, {platform.system()}",
        "placement": str(conditions.placement),
        "rounds": f"{conditions.rounds} of {conditions.seconds:g} s, median",
        "load average before": f"{conditions.load_before:.2f}",
        **({"connections": str(conditions.connections)} if conditions.connections else {}),
        "pool": f"{conditions.pool} database connections" if conditions.pool else "the usual",
        "Python": platform.python_version(),
        "packages": ", ".join(f"{name} {version(name)}" for name in PACKAGES),
        "wrk": _output("wrk", "--version").split(" [")[0].removeprefix("wrk "),
        **_node(),
    }


def listed(facts: dict[str, str]) -> str:
    """Return them as a list in Markdown."""
    return "\n".join(f"- {key}: {value}" for key, value in facts.items())


def rates(results: dict[str, Result]) -> str:
    """Return the table of requests per second and memory."""
    lines = [row("requests per second", *REQUESTS, "RSS", "PSS", "start")]
    lines.append(row("---", *["---:"] * (len(REQUESTS) + 3)))
    for result in results.values():
        figures = [f"{result.rate(request):,.0f}" for request in REQUESTS]
        memory = [f"{max(result.rss_mib):.0f} MiB", f"{max(result.pss_mib):.0f} MiB"]
        lines.append(row(result.title, *figures, *memory, f"{min(result.started_in):.2f} s"))
    return "\n".join(lines)


def costs(results: dict[str, Result]) -> str:
    """Return the table of processor time."""
    titles = [
        row("server's CPU per request, µs", *REQUESTS),
        row("---", *["---:"] * len(REQUESTS)),
    ]
    rows = [
        row(result.title, *[f"{result.cpu(name):,.0f}" for name in REQUESTS])
        for result in results.values()
    ]
    return "\n".join([*titles, *rows])


def latencies(results: dict[str, Result]) -> str:
    """Return the table of latencies."""
    requests = _requests(results)
    lines = [row("latency p50 / p99, ms", *requests), row("---", *["---:"] * len(requests))]
    for result in results.values():
        figures = [f"{result.p50(name):.1f} / {result.p99(name):.1f}" for name in requests]
        lines.append(row(result.title, *figures))
    return "\n".join(lines)


def ratios(results: dict[str, Result]) -> str:
    """Return the table of the service's ratios to its peers, or nothing without the service.

    A ratio is the median of the rounds' ratios, with the least and the greatest of them.
    """
    ours, rivals = results.get("megapolis"), [results[name] for name in RIVALS if name in results]
    if ours is None or not rivals:
        return ""
    lines = [row("ratio", *REQUESTS, "goal"), row("---", *["---:"] * len(REQUESTS), "---")]
    best = [
        _ratio(ours, max(rivals, key=lambda rival: rival.rate(request)), request, "rate")
        for request in REQUESTS
    ]
    lines.append(row("rate, to the best framework", *best, "at least 3.0"))
    if floor := results.get("hand-written"):
        rates = [_ratio(ours, floor, request, "rate") for request in REQUESTS]
        lines.append(row("rate, to the floor", *rates, "at least 0.70, lists 0.60"))
    if before := results.get("before"):
        rates = [_ratio(ours, before, request, "rate") for request in REQUESTS]
        lines.append(row("rate, to before", *rates, ""))
    if fastapi := results.get("fastapi"):
        tails = [_ratio(ours, fastapi, request, "p99_ms") for request in REQUESTS]
        lines.append(row("p99, to FastAPI", *tails, "at most 0.33"))
        memory = f"{max(ours.rss_mib) / max(fastapi.rss_mib):.2f}"
        lines.append(row("RSS, to FastAPI", *[memory] * len(REQUESTS), "at most 1.00"))
    return "\n".join(lines)


def comparisons(results: dict[str, Result]) -> str:
    """Return the table of what was served, with the service's ratio to each of the others."""
    requests = _requests(results)
    lines = [row("served per second", *requests), row("---", *["---:"] * len(requests))]
    lines.extend(
        row(result.title, *[_served(result, request) for request in requests])
        for result in results.values()
    )
    ours = results.get("megapolis")
    for other in results.values():
        if ours is not None and other is not ours:
            found = [_ratio(ours, other, request, "rate") for request in requests]
            lines.append(row(f"ratio, to {other.title}", *found))
    return "\n".join(lines)


def _served(result: Result, request: str) -> str:
    rejected = result.rejected(request)
    note = f" ({rejected:.0%} rejected)" if rejected else ""
    return f"{result.rate(request):,.0f}{note}"


def _requests(results: dict[str, Result]) -> list[str]:
    return list(next(iter(results.values())).measurements)


def _ratio(ours: Result, other: Result, request: str, figure: str) -> str:
    pairs = zip(ours.measurements[request], other.measurements[request], strict=True)
    figures = [(getattr(mine, figure), getattr(theirs, figure)) for mine, theirs in pairs]
    found = [mine / theirs for mine, theirs in figures if theirs]
    if not found:
        return "none served"
    spread = f" ({min(found):.2f}-{max(found):.2f})" if len(found) > 1 else ""
    return f"{median(found):.2f}{spread}"


def row(*cells: str) -> str:
    """Return a row of a table in Markdown."""
    return f"| {' | '.join(cells)} |"


def _node() -> dict[str, str]:
    if not shutil.which("node"):
        return {}
    packages = json.loads((CHECKOUT / NODE / "package.json").read_text())["dependencies"]
    versions = ", ".join(f"{name} {number}" for name, number in packages.items())
    return {"Node.js": f"{_output('node', '--version').strip()}, {versions}"}


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _processor() -> str:
    names = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return names[0] if names else platform.machine()
