"""What a database that is not beside the server costs: the comparison at several round trips."""

from collections.abc import Iterator
from dataclasses import replace

from benchmarks import report
from benchmarks.bench import Bench
from benchmarks.compare import compare
from benchmarks.servers import Server

ROUND_TRIPS = (0.0, 1.0, 5.0, 50.0)
"""Milliseconds: the same machine, the same region, a region nearby, one far away."""
CLIENTS = (64, 400)
REQUESTS = {"GET one": "one", "list 20": "limit=20", "POST": "post"}


def distance(
    servers: list[Server], bench: Bench, round_trips: list[float], clients: list[int]
) -> Iterator[str]:
    """Compare the servers, and yield a section in Markdown for each round trip and crowd.

    The servers may reject requests, which are not counted as served.
    """
    for round_trip in round_trips:
        with bench.at_distance(round_trip) as far:
            for count in clients:
                title = f"{round_trip:g} ms, {count} clients"
                bench.say(title)
                conditions = replace(bench.conditions, connections=count, rejections=True)
                results = compare(servers, replace(far, conditions=conditions), REQUESTS)
                tables = (report.comparisons(results), report.latencies(results))
                yield "\n\n".join([f"## {title}", *tables])
