"""What each guard against faults and hostile clients costs: the service without it, in turn."""

from dataclasses import replace
from statistics import median

from benchmarks.bench import Bench
from benchmarks.catalogue import megapolis
from benchmarks.servers import Server

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

NONE_REMOVED = "all guards"


def guards(python: str, bench: Bench) -> str:
    """Measure the service of this interpreter, and return the table in Markdown.

    The cost is that of the server's processor time, which other processes disturb less than the
    rate, against the service with all guards just before and just after.
    """
    server = megapolis(python)
    costs: dict[str, list[float]] = {guard: [] for guard in GUARDS}
    rounds = bench.conditions.rounds
    before = cpu(server, bench, f"round 1 of {rounds}: {NONE_REMOVED}")
    for number in range(1, rounds + 1):
        for guard, found in costs.items():
            without = cpu(unguarded(server, guard), bench, f"round {number} of {rounds}: {guard}")
            after = cpu(server, bench, f"round {number} of {rounds}: {NONE_REMOVED}")
            found.append(1 - without / ((before + after) / 2))
            before = after
    lines = ["| guard | its share of a GET | least and most |", "| --- | ---: | ---: |"]
    for guard, found in costs.items():
        spread = f"{min(found):.1%} to {max(found):.1%}"
        lines.append(f"| {GUARDS[guard]} | {median(found):.1%} | {spread} |")
    return "\n".join(lines)


def unguarded(server: Server, guard: str) -> Server:
    """Return the same service without this guard."""
    python, _, *command = server.command
    return replace(server, command=(python, "-m", "benchmarks.unguarded", guard, *command))


def cpu(server: Server, bench: Bench, told: str) -> float:
    """Return the microseconds of processor time that the server needs for a GET."""
    bench.say(told)
    with bench.serving(server) as running:
        return bench.measure(running, "one").cpu_us
