"""The comparison: rounds in alternation, so that a drifting machine does not decide."""

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
        """The median of the answers per second."""
        return median(each.rate for each in self.measurements[request])

    def cpu(self, request: str) -> float:
        """The median of the server's processor time for each request, in microseconds."""
        return median(each.cpu_us for each in self.measurements[request])

    def p50(self, request: str) -> float:
        """The median of the rounds' median latency, in milliseconds."""
        return median(each.p50_ms for each in self.measurements[request])

    def p99(self, request: str) -> float:
        """The median of the rounds' 99th percentile of the latency, in milliseconds."""
        return median(each.p99_ms for each in self.measurements[request])


def compare(servers: list[Server], bench: Bench) -> dict[str, Result]:
    """Measure the servers in turn, round after round, and return the results by name.

    In each turn only that server runs. It is checked in the first round, and a wrong answer
    (`check.WrongAnswerError`) or a failed request (`wrk.LoadError`) ends the comparison.
    """
    results = {server.name: Result(server.title) for server in servers}
    rounds = bench.conditions.rounds
    for number in range(1, rounds + 1):
        for server in servers:
            bench.say(f"round {number} of {rounds}: {server.title}")
            _take_turn(server, bench, results[server.name])
    return results


def _take_turn(server: Server, bench: Bench, result: Result) -> None:
    with bench.serving(server) as running:
        if not result.started_in:
            check(running.url, bench.database)
        for request, kind in REQUESTS.items():
            found = bench.measure(running, kind)
            result.measurements.setdefault(request, []).append(found)
        rss, pss = running.memory()
    result.started_in.append(running.started_in)
    result.rss_mib.append(rss)
    result.pss_mib.append(pss)
