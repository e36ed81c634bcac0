"""What holds again within a minute of every fault, without a restart.

The service answers and is ready; nothing is under way in it and in PostgreSQL; memory, descriptors,
threads, tasks and the pool of each worker are where they were in a service at rest; and the log
tells of no exception that nobody expected.
"""

import asyncio
import json
import os
import re
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

from megapolis import environment
from tests.faults.load import Client
from tests.faults.service import Database, Service, is_running
from tests.ports import listens
from tests.waiting import until

TIMEOUT = 60.0
MEGABYTES = 48
"""By how much a worker may have grown: of what 10,000 connections took,
28 MB stay scattered over the heap."""
LIBUV_THREADS = 4
"""uvloop starts them when it looks the first name up."""
NEVER = re.compile(r"never retrieved|never awaited|Exception in ASGI|Traceback|Warning: ")


@dataclass(frozen=True)
class Worker:
    """A process of the service, as seen from outside, and by the probe from inside."""

    pid: int
    megabytes: int
    descriptors: int
    """Without the pool's, and without libfaketime's."""
    threads: int
    tasks: "Counter[str]"
    in_flight: int
    connections: int
    idle: int
    waiting: int

    @classmethod
    def look(cls, pid: int, probe: Path) -> "Worker":
        seen = ask(pid, probe)
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        descriptors = [path.readlink() for path in Path(f"/proc/{pid}/fd").iterdir()]
        own = [path for path in descriptors if "faketime" not in path.name]
        return cls(
            pid=pid,
            megabytes=pages * os.sysconf("SC_PAGE_SIZE") // 1_000_000,
            descriptors=len(own) - seen.pop("open"),
            threads=len(list(Path(f"/proc/{pid}/task").iterdir())),
            tasks=Counter(seen.pop("tasks")),
            **seen,
        )


def ask(pid: int, probe: Path) -> dict[str, Any]:
    """Return what the process says of itself (`probe/sitecustomize.py`)."""
    file = probe / str(pid)
    file.unlink(missing_ok=True)

    def is_answered() -> bool:
        if file.exists():
            return True
        os.kill(pid, signal.SIGUSR2)  # Again, for it does not answer before it serves.
        return False

    until(is_answered, every=0.05)
    seen: dict[str, Any] = json.loads(file.read_text())
    return seen


@dataclass(frozen=True)
class Rest:
    """The most that a worker has when nothing is under way."""

    megabytes: int
    descriptors: int
    threads: int
    tasks: "Counter[str]"

    @classmethod
    def of(cls, service: Service) -> "Rest":
        """Wait until what was under way is over, that is until nothing changes any more."""
        before: list[Worker] = []
        deadline = time.monotonic() + TIMEOUT
        while not (now := look(service)) or sizes(now) != sizes(before):
            assert time.monotonic() < deadline, now
            before = now
            time.sleep(0.25)
        return cls(
            megabytes=max(worker.megabytes for worker in now),
            descriptors=max(worker.descriptors for worker in now),
            threads=max(worker.threads for worker in now),
            tasks=reduce(Counter.__or__, (worker.tasks for worker in now)),
        )

    def exceeded(self, worker: Worker) -> Iterator[str]:
        """Yield what the worker has more than that."""
        if worker.megabytes > self.megabytes + MEGABYTES:
            yield f"{worker.megabytes} MB of memory, {self.megabytes} at rest"
        if worker.descriptors > self.descriptors:
            yield f"{worker.descriptors} descriptors, {self.descriptors} at rest"
        if worker.threads > self.threads + LIBUV_THREADS:
            yield f"{worker.threads} threads, {self.threads} at rest"
        if more := worker.tasks - self.tasks:
            yield f"tasks: {dict(more)}"
        if worker.in_flight:
            yield f"{worker.in_flight} requests in flight"
        if worker.connections > environment.DATABASE_POOL_SIZE + 1:  # one is for readiness
            yield f"{worker.connections} connections"
        if worker.idle != worker.connections or worker.waiting:
            yield f"{worker.idle} of {worker.connections} connections idle, {worker.waiting} wait"


def look(service: Service) -> list[Worker]:
    """Return the workers. One that ends meanwhile is none."""
    found = []
    for pid in service.workers():
        with suppress(ProcessLookupError, FileNotFoundError):
            found.append(Worker.look(pid, service.probe))
    return found


def sizes(workers: list[Worker]) -> list[tuple[object, ...]]:
    return [(worker.descriptors, worker.threads, worker.tasks) for worker in workers]


def remains(service: Service, database: Database, rest: Rest) -> list[str]:
    """Return what is not yet as it was."""
    workers = look(service)
    found = [f"{len(workers)} workers"] if len(workers) != service.number else []
    found += [f"{worker.pid}: {more}" for worker in workers for more in rest.exceeded(worker)]
    for state in ("idle in transaction%", "active"):
        if number := database.backends(state):
            found.append(f"{number} connections {state.rstrip('%')}")
    return found


@asynccontextmanager
async def invariants(
    service: Service, database: Database, token: str, rest: Rest
) -> AsyncIterator[None]:
    """Check all of it after the block; of a service that was told to end, that nothing is left."""
    position = len(service.log)
    workers = service.workers()
    yield
    deadline = time.monotonic() + TIMEOUT
    if service.process.poll() is None:
        await answers(service, token, deadline)
        while found := await asyncio.to_thread(remains, service, database, rest):
            assert time.monotonic() < deadline, found
            await asyncio.sleep(0.05)
    else:
        assert not any(map(is_running, workers))
        assert not listens(service.port)
        while database.backends("active") or database.backends("idle in transaction%"):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
    log = service.log[position:]
    assert not NEVER.search(log), log


async def answers(service: Service, token: str, deadline: float) -> None:
    """Wait until it is ready, and answers."""
    async with Client(service.port, token) as client:
        for path in ("/readyz", "/widgets/"):
            while (status := await client.status(path)) != 200:
                assert time.monotonic() < deadline, f"{path}: {status}"
                await asyncio.sleep(0.02)
