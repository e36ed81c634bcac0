"""Which processor cores the server, PostgreSQL and wrk run on: the same for every peer."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

Cores = frozenset[int]

ALL: Cores = frozenset(os.sched_getaffinity(0))
"""The cores this process was given when it started."""


@dataclass(frozen=True)
class Placement:
    """The cores of the three parties."""

    server: Cores
    database: Cores
    load: Cores

    def __str__(self) -> str:
        parties = {"server": self.server, "PostgreSQL": self.database, "wrk": self.load}
        return ", ".join(f"{name} on {_spell(cores)}" for name, cores in parties.items())


def free() -> Placement:
    """Leave it to the kernel: everything may run on every core."""
    return Placement(server=ALL, database=ALL, load=ALL)


def split(workers: int = 1) -> Placement:
    """Give each worker a core of its own; PostgreSQL and wrk share the others.

    Raises ValueError where no core would be left for them.
    """
    cores = sorted(ALL)
    if len(cores) <= workers:
        raise ValueError(f"{workers} worker(s) and the load need {workers + 1} cores.")
    server, rest = frozenset(cores[:workers]), frozenset(cores[workers:])
    return Placement(server=server, database=rest, load=rest)


@contextmanager
def children_on(cores: Cores) -> Iterator[None]:
    """Run on these cores within the block, because a process inherits them from its parent."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _spell(cores: Cores) -> str:
    return f"core{'s' if len(cores) > 1 else ''} {', '.join(str(core) for core in sorted(cores))}"
