"""More clients and more requests than the service can serve: how much it still serves."""

import json
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from statistics import median
from urllib.parse import urlsplit

from benchmarks.bench import Bench
from benchmarks.check import check
from benchmarks.clients import Load
from benchmarks.compare import turns
from benchmarks.crowd import Outcome
from benchmarks.database import CHECKOUT
from benchmarks.placement import children_on
from benchmarks.report import row
from benchmarks.servers import Running, Server

CONNECTIONS = (64, 256, 512, 1000, 2000, 4000)
FACTORS = (1.5, 2.0, 4.0)
"""Of the best rate of the same process."""
KEPT = 4000
"""Connections of the open loop."""
BURST = 2000


@dataclass
class Result:
    """What came of each load, an outcome for each round."""

    closed: dict[int, list[Outcome]] = field(default_factory=dict)
    held: dict[int, list[int]] = field(default_factory=dict)
    """Connections to PostgreSQL after each number of clients."""
    open: dict[float, list[Outcome]] = field(default_factory=dict)
    burst: list[Outcome] = field(default_factory=list)

    def peaks(self) -> list[float]:
        """Return the best rate of each round."""
        rounds = zip(*self.closed.values(), strict=True)
        return [max(each.served / each.seconds for each in outcomes) for outcomes in rounds]


def overload(servers: list[Server], bench: Bench, round_trip: float | None = None) -> Iterator[str]:
    """Measure the servers in turn, and yield a section in Markdown for each."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    results = {server.title: Result() for server in servers}
    with bench.at_distance(round_trip) if round_trip else nullcontext(bench) as placed:
        for server in turns(servers, placed):
            _take_turn(server, placed, results[server.title])
    for title, result in results.items():
        yield f"## {title}\n\n{closed(result)}\n\n{open_(result)}\n\n{burst(result)}"


def _take_turn(server: Server, bench: Bench, result: Result) -> None:
    times = {"seconds": bench.conditions.seconds, "warm_up": bench.conditions.warm_up}
    with bench.serving(server) as running:
        if not result.burst:
            check(running.url, bench.database)
        for count in CONNECTIONS:
            found = _run(bench, running, clients=count, **times)
            result.closed.setdefault(count, []).append(found)
            result.held.setdefault(count, []).append(bench.database.connections())
        for factor in FACTORS:
            rate = factor * result.peaks()[-1]
            found = _run(bench, running, clients=KEPT, rate=rate, **times)
            result.open.setdefault(factor, []).append(found)
        result.burst.append(_run(bench, running, clients=BURST))


def _run(bench: Bench, running: Running, **load: float) -> Outcome:
    bench.settle(running)
    bench.say(", ".join(f"{name} {value:,.0f}" for name, value in load.items()))
    port = urlsplit(running.url).port
    orders = {"port": port, "tokens": bench.tokens, "widgets": bench.database.widgets, **load}
    with children_on(bench.conditions.placement.load):
        finished = subprocess.run(
            [sys.executable, "-m", "benchmarks.crowd"],
            input=json.dumps(asdict(Load(**orders))),
            cwd=CHECKOUT,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return Outcome(**json.loads(finished.stdout))


def closed(result: Result) -> str:
    """Return the table of clients that ask again at once."""
    titles = ("served/s", "to the best", "rejected/s", "lost/s", "p50 ms", "p99 ms")
    lines = [_title("clients that ask again at once", *titles, "database connections", "load")]
    for count, outcomes in result.closed.items():
        held = f"{median(result.held[count]):.0f}"
        cells = [*_counts(outcomes, result), *_times(outcomes), held, _busy(outcomes)]
        lines.append(row(f"{count:,}", *cells))
    return "\n".join(lines)


def open_(result: Result) -> str:
    """Return the table of requests at a rate that does not depend on the responses."""
    titles = ("served/s", "to the best", "rejected/s", "lost/s", "p50 ms", "p99 ms")
    lines = [_title("requests at a rate", *titles, "not sent/s", "normal after", "load")]
    for factor, outcomes in result.open.items():
        missed = _median(outcomes, lambda each: each.missed / each.seconds)
        normal = [each.normal_after for each in outcomes if each.normal_after is not None]
        after = f"{max(normal):.2f} s" if len(normal) == len(outcomes) else "never"
        cells = [*_counts(outcomes, result), *_times(outcomes), missed, after, _busy(outcomes)]
        lines.append(row(f"{factor:g} of the best", *cells))
    return "\n".join(lines)


def burst(result: Result) -> str:
    """Return the table of clients that connect at once."""
    titles = ("served", "rejected", "lost", "p50 ms", "p99 ms", "all done after")
    lines = [_title("clients that connect at once", *titles)]
    counts = [
        _median(result.burst, lambda each, name=name: getattr(each, name))
        for name in ("served", "rejected", "lost")
    ]
    after = f"{median(each.seconds for each in result.burst):.2f} s"
    lines.append(row(f"{BURST:,}, one request each", *counts, *_times(result.burst), after))
    return "\n".join(lines)


def _counts(outcomes: list[Outcome], result: Result) -> list[str]:
    pairs = zip(outcomes, result.peaks(), strict=True)
    share = median(each.served / each.seconds / peak for each, peak in pairs)
    served, rejected, lost = (
        _median(outcomes, lambda each, name=name: getattr(each, name) / each.seconds)
        for name in ("served", "rejected", "lost")
    )
    return [served, f"{share:.2f}", rejected, lost]


def _times(outcomes: list[Outcome]) -> list[str]:
    return [
        _median(outcomes, lambda each: each.p50_ms),
        _median(outcomes, lambda each: each.p99_ms),
    ]


def _busy(outcomes: list[Outcome]) -> str:
    return f"{max(each.busy for each in outcomes):.2f}"


def _median(outcomes: list[Outcome], figure: Callable[[Outcome], float]) -> str:
    return f"{median(map(figure, outcomes)):,.0f}"


def _title(*cells: str) -> str:
    return f"{row(*cells)}\n{row('---', *['---:'] * (len(cells) - 1))}"
