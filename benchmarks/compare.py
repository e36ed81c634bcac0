"""The comparison: rounds in alternation, so that a drifting machine does not decide."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median

from benchmarks.bench import Bench
from benchmarks.check import check
from benchmarks.servers import Server
from benchmarks.wrk import Measurement

REQUESTS = {
    "GET one": "one",
    "list 20": "limit=20",
    "list 100": "limit=100",
    "POST": "post",
}


@dataclass
class Result:
    """All that was measured of one server, a figure for each round."""

    title: str
    measurements: dict[str, list[Measurement]] = field(default_factory=dict)
    rss_mib: list[float] = field(default_factory=list)
    pss_mib: list[float] = field(default_factory=list)
    started_in: list[float] = field(default_factory=list)

    def rate(self, request: str) -> float:
        """The median of the served requests per second."""
        return median(each.rate for each in self.measurements[request])

    def rejected(self, request: str) -> float:
        """The median of the share of requests that were rejected."""
        return median(each.rejected / max(each.requests, 1) for each in self.measurements[request])

    def cpu(self, request: str) -> float:
        """The median of the server's processor time for each request, in microseconds."""
        return median(each.cpu_us for each in self.measurements[request])

    def p50(self, request: str) -> float:
        """The median of the rounds' median latency, in milliseconds."""
        return median(each.p50_ms for each in self.measurements[request])

    def p99(self, request: str) -> float:
        """The median of the rounds' 99th percentile of the latency, in milliseconds."""
        return median(each.p99_ms for each in self.measurements[request])


def compare(
    servers: list[Server], bench: Bench, requests: dict[str, str] = REQUESTS
) -> dict[str, Result]:
    """Measure the servers in turn, round after round, and return the results by name.

    `requests` has the kind of each by its title. In each turn only that server runs. It is checked
    in the first round, and a wrong answer (`check.WrongAnswerError`) or a failed request
    (`wrk.LoadError`) ends the comparison.
    """
    results = {server.name: Result(server.title) for server in servers}
    for server in turns(servers, bench):
        _take_turn(server, bench, results[server.name], requests)
    return results


def turns(servers: list[Server], bench: Bench) -> Iterator[Server]:
    """Yield the servers in alternation, each once in a round."""
    rounds = bench.conditions.rounds
    for number in range(1, rounds + 1):
        for server in servers:
            bench.say(f"round {number} of {rounds}: {server.title}")
            yield server


def _take_turn(server: Server, bench: Bench, result: Result, requests: dict[str, str]) -> None:
    with bench.serving(server) as running:
        if not result.started_in:
            check(running.url, bench.database)
        for request, kind in requests.items():
            found = bench.measure(running, kind)
            result.measurements.setdefault(request, []).append(found)
        rss, pss = running.memory()
    result.started_in.append(running.started_in)
    result.rss_mib.append(rss)
    result.pss_mib.append(pss)
