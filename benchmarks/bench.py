"""The bench on which servers are measured: the database, the load, and what is the same for all."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from benchmarks.database import Database, at_distance
from benchmarks.placement import Placement
from benchmarks.servers import Running, Server, serving, wait_for_answer
from benchmarks.wrk import LoadError, Measurement, Target, measure

PAUSE = 0.2
"""Seconds between two loads, for a server to be done with what the first one left. wrk hangs up
amid its last requests, and the service refuses some of 256 clients who come on top of 256. Then
one request is sent, because a server may still work on what those clients asked for."""


@dataclass(frozen=True)
class Conditions:
    """What is the same for every server."""

    rounds: int
    seconds: float
    warm_up: float
    connections: int
    pool: int | None
    """Database connections of each server, or None for the usual (see `servers.serving`)."""
    placement: Placement
    rejections: bool = False
    """Whether a server may reject requests. They are counted apart."""
    load_before: float = field(default_factory=lambda: os.getloadavg()[0])
    """The load average of the last minute, before anything was started. Idle is near 0."""


@dataclass(frozen=True)
class Bench:
    """A filled database, the conditions, the tokens of its users, and a way to say what goes on."""

    database: Database
    conditions: Conditions
    tokens: list[str]
    say: Callable[[str], None]

    @contextmanager
    def serving(self, server: Server) -> Iterator[Running]:
        """Run the server within the block."""
        conditions = self.conditions
        with serving(
            server,
            self.database,
            token=self.tokens[0],
            pool=conditions.pool,
            cores=conditions.placement.server,
        ) as running:
            yield running

    @contextmanager
    def at_distance(self, round_trip: float) -> Iterator["Bench"]:
        """Yield this bench with so many milliseconds between the servers and PostgreSQL."""
        with at_distance(self.database, round_trip, self.conditions.placement.database) as far:
            yield replace(self, database=far)

    def settle(self, running: Running) -> None:
        """Wait until the server is done with the load before."""
        time.sleep(PAUSE)
        wait_for_answer(running.url, self.tokens[0], running.process)

    def load(self, running: Running, kind: str, seconds: float) -> Measurement:
        """Load the server with one kind of request (see `wrk.measure`).

        Raises LoadError when any request failed, for a server that refuses is fast.
        """
        self.settle(running)
        before = running.cpu_seconds()
        found = measure(
            Target(running.url, self.tokens, self.database.widgets),
            kind,
            connections=self.conditions.connections,
            seconds=seconds,
            cores=self.conditions.placement.load,
        )
        failed = found.failed + (0 if self.conditions.rejections else found.rejected)
        if failed:
            raise LoadError(f"{failed} of {found.requests} requests ({kind}) failed.")
        used = running.cpu_seconds() - before
        return replace(found, cpu_us=used / max(found.requests, 1) * 1e6)

    def measure(self, running: Running, kind: str) -> Measurement:
        """Warm the server up with the same requests, measure, and remove what was created."""
        self.load(running, kind, self.conditions.warm_up)
        found = self.load(running, kind, self.conditions.seconds)
        if kind == "post":
            self.database.put_back()
        return found
