"""How the service's cost grows with rows, connections, workers and time."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median

import httpx

from benchmarks.compare import Conditions, measure_warm
from benchmarks.database import Database
from benchmarks.placement import free, split
from benchmarks.servers import Running, megapolis, serving
from benchmarks.wrk import Target, measure

CONNECTIONS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class Subject:
    """The service under measurement."""

    python: str
    database: Database
    conditions: Conditions
    token: str
    say: Callable[[str], None]

    def target(self, running: Running) -> Target:
        """Return the address for wrk."""
        return Target(running.url, self.token, self.database.widgets)


def growth(subject: Subject, requests: int) -> str:
    """Return all the sections in Markdown."""
    conditions = subject.conditions
    server = megapolis(subject.python)
    cores = conditions.placement.server
    with serving(
        server, subject.database, token=subject.token, pool=conditions.pool, cores=cores
    ) as running:
        sections = [pages(subject, running), connections(subject, running)]
        sections.append(memory(subject, running, requests))
    return "\n\n".join([*sections, starts(subject), workers(subject)])


def pages(subject: Subject, running: Running) -> str:
    """Compare the lists of a large table: pages, search, and one's own widgets."""
    count = subject.database.widgets
    subject.say(f"walking the pages of {count:,} widgets")
    last = last_cursor(running.url, subject.token)
    lists = {
        "first page": "limit=20",
        "last page": f"limit=20&cursor={last}",
        "search=widget": "limit=20&search=widget",
        "search for one widget": f"limit=20&search=widget%20{count:08d}",
        "search for nothing": "limit=20&search=nothing",
        "owner=me": "limit=20&owner=me",
    }
    rates: dict[str, list[float]] = {name: [] for name in lists}
    for number in range(1, subject.conditions.rounds + 1):
        for name, query in lists.items():
            subject.say(f"lists, round {number}: {name}")
            found = measure_warm(subject.target(running), query, subject.conditions)
            rates[name].append(found.rate)
    lines = [f"| list of {count:,} | requests/s | cost to the first page |", "| --- | ---: | ---: |"]
    first = median(rates["first page"])
    for name, found_rates in rates.items():
        rate = median(found_rates)
        lines.append(f"| {name} | {rate:,.0f} | {first / rate:.2f} |")
    return "\n".join(lines)


def last_cursor(url: str, token: str) -> str:
    """Follow `next_cursor` from page to page, and return the cursor of a full page near the end."""
    headers = {"Authorization": f"Bearer {token}"}
    recent: list[str] = []
    with httpx.Client(base_url=url, headers=headers) as client:
        parameters = {"limit": "100"}
        while cursor := client.get("/widgets/", params=parameters).json()["next_cursor"]:
            recent = [*recent[-1:], cursor]
            parameters["cursor"] = cursor
    return recent[-1]


def connections(subject: Subject, running: Running) -> str:
    """Compare numbers of connections."""
    lines = ["| connections | requests/s | p50 ms | p99 ms |", "| ---: | ---: | ---: | ---: |"]
    for count in CONNECTIONS:
        subject.say(f"{count} connections")
        conditions = replace(subject.conditions, connections=count)
        found = measure_warm(subject.target(running), "one", conditions)
        lines.append(f"| {count} | {found.rate:,.0f} | {found.p50_ms:.1f} | {found.p99_ms:.1f} |")
    return "\n".join(lines)


def memory(subject: Subject, running: Running, requests: int) -> str:
    """Watch the memory of the process tree while it answers the given number of requests."""
    lines = ["| requests answered | RSS MiB | PSS MiB |", "| ---: | ---: | ---: |"]
    conditions, answered = subject.conditions, 0
    while True:
        rss, pss = running.memory()
        lines.append(f"| {answered:,} | {rss:.1f} | {pss:.1f} |")
        if answered >= requests:
            return "\n".join(lines)
        subject.say(f"memory: {answered:,} of {requests:,} requests")
        answered += measure(
            subject.target(running),
            "one",
            connections=conditions.connections,
            seconds=20,
            cores=conditions.placement.load,
        ).requests


def starts(subject: Subject) -> str:
    """Start the service some times, and say how long the first answer takes."""
    conditions, server, times = subject.conditions, megapolis(subject.python), []
    for _ in range(conditions.rounds):
        subject.say("start to first answer")
        cores = conditions.placement.server
        with serving(
            server, subject.database, token=subject.token, pool=conditions.pool, cores=cores
        ) as running:
            times.append(running.started_in)
    spread = f"{min(times):.2f} to {max(times):.2f} s"
    return f"Start to first answer: {median(times):.2f} s in the median ({spread})."


def workers(subject: Subject) -> str:
    """Compare two workers with one, each on a core of its own where there are enough."""
    conditions, rates = subject.conditions, []
    for count in (1, 2):
        subject.say(f"{count} worker(s)")
        try:
            placement = split(count)
        except ValueError:
            placement = free()
        server = megapolis(subject.python, workers=count)
        with serving(
            server,
            subject.database,
            token=subject.token,
            pool=conditions.pool,
            cores=placement.server,
        ) as running:
            placed = replace(conditions, placement=placement)
            found = measure_warm(subject.target(running), "one", placed)
            rates.append(found.rate)
            subject.say(f"{count} worker(s): {placement}")
    one, two = rates
    return f"Two workers: {two:,.0f} requests/s; one: {one:,.0f}; ratio {two / one:.2f}."
