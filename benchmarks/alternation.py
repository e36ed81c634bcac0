"""One process of the service with a part and without it, in alternation."""

import signal
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import quantiles

from benchmarks.bench import Bench
from benchmarks.servers import Running, Server

SETTLING = 0.2
"""Seconds after which the service has taken note of a signal."""


def removable(server: Server, part: str) -> Server:
    """Return the same service with this part of it there until a signal removes it.

    The parts are those of `benchmarks/removable.py`.
    """
    python, _, *command = server.command
    return replace(server, command=(python, "-m", "benchmarks.removable", part, *command))


def without_to_with(
    bench: Bench, running: Running, measure: Callable[[], float], title: str
) -> list[float]:
    """Return for each round what was measured without the part, divided by that with it.

    The latter is the mean of just before and just after. `title` tells whoever waits what it is.
    """
    found = []
    before = measure()
    for number in range(1, bench.conditions.rounds + 1):
        bench.say(f"{title}, round {number} of {bench.conditions.rounds}")
        _toggle(running)
        without = measure()
        _toggle(running)
        after = measure()
        found.append(without / ((before + after) / 2))
        before = after
    return found


def middle_half(values: list[float]) -> tuple[float, float, float]:
    """Return the median, and the quartiles between which half of the values are."""
    low, middle, high = quantiles(values, n=4, method="inclusive")
    return middle, low, high


def _toggle(running: Running) -> None:
    running.process.send_signal(signal.SIGUSR1)
    time.sleep(SETTLING)
