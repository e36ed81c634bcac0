"""What the access log costs: the service with it and without it, in turn."""

from benchmarks.alternation import middle_half, removable, without_to_with
from benchmarks.bench import Bench
from benchmarks.catalogue import megapolis
from benchmarks.compare import REQUESTS


def access_log(python: str, bench: Bench) -> str:
    """Measure the service of this interpreter, and return the table in Markdown.

    The rate with the log is that of the same process just before and just after the one without.
    """
    lines = ["| request | with to without | the middle half |", "| --- | ---: | ---: |"]
    server = removable(megapolis(python, access_log=True), "access_log")
    for request, kind in REQUESTS.items():
        with bench.serving(server) as running:
            found = without_to_with(
                bench, running, lambda kind=kind: bench.measure(running, kind).rate, request
            )
        middle, low, high = middle_half([1 / each for each in found])
        lines.append(f"| {request} | {middle:.2f} | {low:.2f} to {high:.2f} |")
    return "\n".join(lines)
