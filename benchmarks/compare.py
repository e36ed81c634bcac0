"""The comparison: rounds in alternation, so that a drifting machine does not decide."""

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

from benchmarks.check import check
from benchmarks.database import Database
from benchmarks.placement import Placement
from benchmarks.servers import Server, serving
from benchmarks.wrk import LoadError, Measurement, Target, measure

REQUESTS = {
    "GET one": "one",
    "list 20": "limit=20",
    "list 100": "limit=100",
    "POST": "post",
}


@dataclass(frozen=True)
class Conditions:
    """What is the same for every server."""

    rounds: int
    seconds: float
    warm_up: float
    connections: int
    pool: int
    placement: Placement


@dataclass
class Result:
    """All that was measured of one server."""

    title: str
    measurements: dict[str, list[Measurement]] = field(default_factory=dict)
    rss_mib: list[float] = field(default_factory=list)
    pss_mib: list[float] = field(default_factory=list)
    started_in: list[float] = field(default_factory=list)

    def rate(self, request: str) -> float:
        """The median of the answers per second."""
        return median(each.rate for each in self.measurements[request])

    def p50(self, request: str) -> float:
        """The median of the rounds' median latency, in milliseconds."""
        return median(each.p50_ms for each in self.measurements[request])

    def p99(self, request: str) -> float:
        """The median of the rounds' 99th percentile of the latency, in milliseconds."""
        return median(each.p99_ms for each in self.measurements[request])


def compare(
    servers: list[Server],
    database: Database,
    conditions: Conditions,
    *,
    token: str,
    say: Callable[[str], None],
) -> dict[str, Result]:
    """Measure the servers in turn, round after round, and return the results by name.

    In each turn only that server runs. It is checked in the first round (`check.WrongAnswer`), and
    a single failed request ends the comparison (`LoadError`).
    """
    results = {server.name: Result(server.title) for server in servers}
    for number in range(1, conditions.rounds + 1):
        for server in servers:
            say(f"round {number} of {conditions.rounds}: {server.title}")
            _turn(server, database, conditions, token, results[server.name], first=number == 1)
    return results


def _turn(
    server: Server,
    database: Database,
    conditions: Conditions,
    token: str,
    result: Result,
    *,
    first: bool,
) -> None:
    cores = conditions.placement.server
    with serving(server, database, token=token, pool=conditions.pool, cores=cores) as running:
        result.started_in.append(running.started_in)
        if first:
            check(running.url, database)
        target = Target(running.url, token, database.widgets)
        for request, kind in REQUESTS.items():
            found = measure_warm(target, kind, conditions)
            result.measurements.setdefault(request, []).append(found)
            if kind == "post":
                database.put_back()
        rss, pss = running.memory()
        result.rss_mib.append(rss)
        result.pss_mib.append(pss)


def measure_warm(target: Target, kind: str, conditions: Conditions) -> Measurement:
    """Warm the server up with the same requests, then measure.

    Raises LoadError when any request failed, for a server that refuses is fast.
    """
    connections, cores = conditions.connections, conditions.placement.load
    for seconds in (conditions.warm_up, conditions.seconds):
        found = measure(target, kind, connections=connections, seconds=seconds, cores=cores)
        if found.failed:
            raise LoadError(f"{found.failed} of {found.requests} requests ({kind}) failed.")
    return found
