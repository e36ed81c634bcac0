"""What the access log costs: the service with it and without it, in alternation."""

from statistics import median

from benchmarks.bench import Bench
from benchmarks.catalogue import megapolis
from benchmarks.compare import REQUESTS


def access_log(python: str, bench: Bench) -> str:
    """Measure the service of this interpreter, and return the table in Markdown."""
    rates: dict[tuple[bool, str], list[float]] = {}
    rounds = bench.conditions.rounds
    for number in range(1, rounds + 1):
        for logged in (False, True):
            bench.say(f"round {number} of {rounds}: access log {'on' if logged else 'off'}")
            with bench.serving(megapolis(python, access_log=logged)) as running:
                for request, kind in REQUESTS.items():
                    rate = bench.measure(running, kind).rate
                    rates.setdefault((logged, request), []).append(rate)
    lines = ["| access log | off | on | on to off |", "| --- | ---: | ---: | ---: |"]
    for request in REQUESTS:
        off, on = median(rates[False, request]), median(rates[True, request])
        lines.append(f"| {request} | {off:,.0f} | {on:,.0f} | {on / off:.2f} |")
    return "\n".join(lines)
