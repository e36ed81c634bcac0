"""What each guard against faults and hostile clients costs: the service without it, in turn."""

import signal
import time
from dataclasses import replace
from statistics import quantiles

from benchmarks.bench import Bench
from benchmarks.catalogue import megapolis
from benchmarks.servers import Running, Server

GUARDS = {
    "slow_clients": "slow clients, large heads, smuggling",
    "overload": "requests in flight",
    "time_to_answer": "the time to answer",
    "hang_ups": "clients that hang up",
    "dead_connections": "database connections that died",
    "headers": "the headers of every answer",
    "host": "`Host`",
}
"""What can be left out, by its name in `benchmarks/unguarded.py`."""

SETTLING = 0.2
"""Seconds after which the service has taken note of a signal."""


def guards(python: str, bench: Bench) -> str:
    """Measure the service of this interpreter, and return the table in Markdown.

    The cost is that of the server's processor time, which other processes disturb less than the
    rate, against the same process with all guards just before and just after.
    """
    lines = ["| guard | its share of a GET | the middle half |", "| --- | ---: | ---: |"]
    for guard, title in GUARDS.items():
        with bench.serving(removable(megapolis(python), guard)) as running:
            found = shares(bench, running, guard)
        low, middle, high = quantiles(found, n=4, method="inclusive")
        lines.append(f"| {title} | {middle:.1%} | {low:.1%} to {high:.1%} |")
    return "\n".join(lines)


def removable(server: Server, guard: str) -> Server:
    """Return the same service, with this guard there as long as no signal removes it."""
    python, _, *command = server.command
    return replace(server, command=(python, "-m", "benchmarks.unguarded", guard, *command))


def shares(bench: Bench, running: Running, guard: str) -> list[float]:
    """Return what of the processor time of a GET is the guard's, measured in each round."""
    found = []
    before = cpu(bench, running)
    for number in range(1, bench.conditions.rounds + 1):
        bench.say(f"{guard}, round {number} of {bench.conditions.rounds}")
        toggle(running)
        without = cpu(bench, running)
        toggle(running)
        after = cpu(bench, running)
        found.append(1 - without / ((before + after) / 2))
        before = after
    return found


def toggle(running: Running) -> None:
    """Have the guard removed, or put back."""
    running.process.send_signal(signal.SIGUSR1)
    time.sleep(SETTLING)


def cpu(bench: Bench, running: Running) -> float:
    """Return the microseconds of processor time that the server needs for a GET."""
    return bench.measure(running, "one").cpu_us
