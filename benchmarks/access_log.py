"""What the access log costs: the service with it and without it, in alternation."""

from collections.abc import Callable
from statistics import median

from benchmarks.compare import REQUESTS, Conditions, measure_warm
from benchmarks.database import Database
from benchmarks.servers import megapolis, serving
from benchmarks.wrk import Target


def access_log(
    python: str,
    database: Database,
    conditions: Conditions,
    *,
    token: str,
    say: Callable[[str], None],
) -> str:
    """Measure in alternation, and return the table in Markdown."""
    rates: dict[tuple[bool, str], list[float]] = {}
    for number in range(1, conditions.rounds + 1):
        for logged in (False, True):
            say(f"round {number} of {conditions.rounds}: access log {'on' if logged else 'off'}")
            server = megapolis(python, access_log=logged)
            cores, pool = conditions.placement.server, conditions.pool
            with serving(server, database, token=token, pool=pool, cores=cores) as running:
                target = Target(running.url, token, database.widgets)
                for request, kind in REQUESTS.items():
                    found = measure_warm(target, kind, conditions)
                    rates.setdefault((logged, request), []).append(found.rate)
                    if kind == "post":
                        database.put_back()
    lines = ["| access log | off | on | on to off |", "| --- | ---: | ---: | ---: |"]
    for request in REQUESTS:
        off, on = median(rates[False, request]), median(rates[True, request])
        lines.append(f"| {request} | {off:,.0f} | {on:,.0f} | {on / off:.2f} |")
    return "\n".join(lines)
