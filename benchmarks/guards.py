"""What each guard against faults and hostile clients costs: the service without it, in turn."""

from benchmarks.alternation import middle_half, removable, without_to_with
from benchmarks.bench import Bench
from benchmarks.catalogue import megapolis

GUARDS = {
    "slow_clients": "slow clients, large heads, smuggling",
    "overload": "requests in flight",
    "time_to_answer": "the time to answer",
    "hang_ups": "clients that hang up",
    "dead_connections": "database connections that died",
    "headers": "the headers of every answer",
    "host": "`Host`",
}
"""What can be left out, by its name in `benchmarks/removable.py`."""


def guards(python: str, bench: Bench) -> str:
    """Measure the service of this interpreter, and return the table in Markdown.

    The cost is that of the server's processor time, which other processes disturb less than the
    rate, against the same process with all guards just before and just after.
    """
    lines = ["| guard | its share of a GET | the middle half |", "| --- | ---: | ---: |"]
    for guard, title in GUARDS.items():
        with bench.serving(removable(megapolis(python), guard)) as running:
            found = without_to_with(
                bench, running, lambda: bench.measure(running, "one").cpu_us, guard
            )
        middle, low, high = middle_half([1 - each for each in found])
        lines.append(f"| {title} | {middle:.1%} | {low:.1%} to {high:.1%} |")
    return "\n".join(lines)
