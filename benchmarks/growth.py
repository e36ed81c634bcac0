"""How the service's cost grows with rows, connections, requests and workers."""

from collections.abc import Iterator
from dataclasses import replace
from statistics import median

import httpx

from benchmarks.bench import Bench
from benchmarks.catalogue import megapolis
from benchmarks.placement import free, split
from benchmarks.servers import Running
from benchmarks.wrk import Measurement

CONNECTIONS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
SATURATING = 16
"""So many keep the service's core busy all the time; more of them only wait for longer."""
MEMORY_STEP_SECONDS = 20


def growth(python: str, bench: Bench, requests: int) -> Iterator[str]:
    """Measure the service of this interpreter, and yield the sections in Markdown."""
    with bench.serving(megapolis(python)) as running:
        yield lists(bench, running)
        yield connections(bench, running)
        yield memory(bench, running, requests)
    yield starts(python, bench)
    yield workers(python, bench)


def lists(bench: Bench, running: Running) -> str:
    """Compare the lists of a large table: pages, searches, and one's own widgets."""
    count = bench.database.widgets
    bench.say(f"walking the pages of {count:,} widgets")
    queries = {
        "first page": "limit=20",
        "last page": f"limit=20&cursor={last_cursor(running.url, bench.tokens[0])}",
        "search that finds all": "limit=20&search=widget",
        "search that finds one": f"limit=20&search=widget%20{count:08d}",
        "search that finds none": "limit=20&search=nothing",
        "owner=me": "limit=20&owner=me",
    }
    rates: dict[str, list[float]] = {name: [] for name in queries}
    for number in range(1, bench.conditions.rounds + 1):
        for name, query in queries.items():
            bench.say(f"lists, round {number}: {name}")
            rates[name].append(bench.measure(running, query).rate)
    first = median(rates["first page"])
    lines = [f"| list of {count:,} | requests/s | cost, first page = 1 |", "| --- | ---: | ---: |"]
    for name, found in rates.items():
        lines.append(f"| {name} | {median(found):,.0f} | {first / median(found):.2f} |")
    return "\n".join(lines)


def last_cursor(url: str, token: str) -> str:
    """Follow `next_cursor` from page to page, and return that of the last full page but one."""
    headers = {"Authorization": f"Bearer {token}"}
    recent: list[str] = []
    with httpx.Client(base_url=url, headers=headers) as client:
        parameters = {"limit": "100"}
        while cursor := client.get("/widgets/", params=parameters).json()["next_cursor"]:
            recent = [*recent[-1:], cursor]
            parameters["cursor"] = cursor
    return recent[-1]


def connections(bench: Bench, running: Running) -> str:
    """Compare numbers of connections: all of them in each round, in this order and the other."""
    found: dict[int, list[Measurement]] = {count: [] for count in CONNECTIONS}
    for number in range(bench.conditions.rounds):
        for count in CONNECTIONS[:: -1 if number % 2 else 1]:
            bench.say(f"connections, round {number + 1}: {count}")
            crowd = replace(bench, conditions=replace(bench.conditions, connections=count))
            found[count].append(crowd.measure(running, "one"))
    lines = [
        f"| connections | requests/s | to {SATURATING} | p50 ms | p99 ms |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    for count, rounds in found.items():
        rate = median(each.rate for each in rounds)
        pairs = zip(rounds, found[SATURATING], strict=True)
        ratio = median(each.rate / saturating.rate for each, saturating in pairs)
        p50, p99 = median(each.p50_ms for each in rounds), median(each.p99_ms for each in rounds)
        lines.append(f"| {count} | {rate:,.0f} | {ratio:.2f} | {p50:.1f} | {p99:.1f} |")
    return "\n".join(lines)


def memory(bench: Bench, running: Running, requests: int) -> str:
    """Watch the memory of the process tree while it answers this number of requests."""
    lines = ["| requests answered | RSS MiB | PSS MiB |", "| ---: | ---: | ---: |"]
    answered = 0
    while True:
        rss, pss = running.memory()
        lines.append(f"| {answered:,} | {rss:.1f} | {pss:.1f} |")
        if answered >= requests:
            return "\n".join(lines)
        bench.say(f"memory: {answered:,} of {requests:,} requests")
        answered += bench.load(running, "one", MEMORY_STEP_SECONDS).requests


def starts(python: str, bench: Bench) -> str:
    """Start the service some times, and say how long the first answer takes."""
    times = []
    for _ in range(bench.conditions.rounds):
        bench.say("start to first answer")
        with bench.serving(megapolis(python)) as running:
            times.append(running.started_in)
    spread = f"{min(times):.2f} to {max(times):.2f} s"
    return f"Start to first answer: {median(times):.2f} s in the median ({spread})."


def workers(python: str, bench: Bench) -> str:
    """Compare two workers with one, in rounds.

    Where there are three cores or more, each worker has its own; else the kernel places all.
    """
    try:
        placement = split(workers=2)
    except ValueError:
        placement = free()
    placed = replace(bench, conditions=replace(bench.conditions, placement=placement))
    rates: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(bench.conditions.rounds):
        for count, found in rates.items():
            bench.say(f"{count} worker(s)")
            with placed.serving(megapolis(python, workers=count)) as running:
                found.append(placed.measure(running, "one").rate)
    one, two = median(rates[1]), median(rates[2])
    figures = f"Two workers: {two:,.0f} requests/s; one: {one:,.0f}; ratio {two / one:.2f}"
    return f"{figures} ({placement})."
