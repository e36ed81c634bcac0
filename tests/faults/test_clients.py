"""Clients that hang up, or are many."""

import asyncio
import os
import resource
from collections.abc import Callable, Iterator

import pytest

from megapolis import environment
from megapolis.database.connections import PIPELINES
from tests.faults.conftest import Report
from tests.faults.load import Client
from tests.faults.many_clients import connected_clients
from tests.faults.service import WORKERS, Database, Service
from tests.waiting import eventually

HUNG_UP = "FROM widgets_widget WHERE name LIKE 'hung up %%'"
WAVE = 100
STAGES = ("a whole request", "half a head", "half a body", "an answer to read")


class TestHangingUp:
    @pytest.mark.parametrize("number", [200, pytest.param(2000, marks=pytest.mark.faults)])
    async def test_leaves_nothing_behind(
        self, service: Service, token: str, database: Database, report: Report, number: int
    ) -> None:
        # A pool that is not full yet, or lost connections to an earlier fault, may grow meanwhile.
        def others() -> int:
            return service.descriptors() - database.backends()

        def stored() -> int:
            [[rows]] = database.execute(f"SELECT count(*) {HUNG_UP}")
            return int(rows)

        def more_than(rows: int) -> Callable[[], bool]:
            return lambda: stored() > rows

        before = others()
        for start in range(0, number, 2 * WAVE):
            wave = range(start, start + WAVE)
            await hang_up(service, token, wave, when=more_than(stored()))
            with database.connect() as lock:
                lock.execute("BEGIN; LOCK TABLE widgets_widget")
                wave = range(start + WAVE, start + 2 * WAVE)
                await hang_up(service, token, wave, when=lambda: database.backends("active") > 0)
                await eventually(lambda: database.backends("active") == 0)

        await eventually(lambda: others() <= before + 4)
        names = database.execute(f"SELECT name {HUNG_UP}")
        database.execute(f"DELETE {HUNG_UP}")
        whole = {f"hung up {client}" for client in range(0, number, len(STAGES))}
        assert {name for (name,) in names} <= whole
        await use_the_whole_pool(service, token, database)
        async with Client(service.port, token) as client:
            answer = await client.ask("GET", "/widgets/")
        assert answer.status == 200
        report.line(
            f"{number:,} clients that hang up",
            number,
            "–",
            recovery=answer.seconds,
            note=f"{len(names)} of {len(whole)} whole requests were carried out",
        )


async def hang_up(
    service: Service, token: str, numbers: range, *, when: Callable[[], bool]
) -> None:
    """Begin requests, each to another point, and hang up when it is time."""
    clients = await connected_clients(service, token, len(numbers))
    for number, client in zip(numbers, clients, strict=True):
        assert client.writer
        body = b'{"name": "hung up %d"}' % number
        missing = number % len(STAGES) == STAGES.index("half a body")
        length = f"Content-Length: {len(body) + missing}"
        head = client.head("POST", "/widgets/", "Content-Type: application/json", length)
        stages = (head + body, head[:-20], head + body, client.head("GET", "/widgets/?limit=100"))
        client.writer.write(stages[number % len(STAGES)])
    await eventually(when)
    for client in clients:
        client.close()


async def use_the_whole_pool(service: Service, token: str, database: Database) -> None:
    """Let requests wait for a lock on the connections of every worker, and end well."""
    with database.connect() as lock:
        lock.execute("BEGIN; LOCK TABLE widgets_widget")
        clients = await connected_clients(service, token, 2 * WAVE)
        answers = asyncio.gather(*(client.ask("GET", "/widgets/") for client in clients))
        await eventually(lambda: database.backends("active") >= WORKERS * PIPELINES)
    assert {answer.status for answer in await answers} <= {200, 503}
    for client in clients:
        client.close()
    assert database.backends() <= WORKERS * (environment.DATABASE_POOL_SIZE + 1)


@pytest.mark.faults
class TestIdleConnections:
    async def test_keep_nobody_out(
        self, service: Service, token: str, report: Report, descriptors: int
    ) -> None:
        number = min(10_000, descriptors - 1000)
        idle = await connected_clients(service, "", number)
        for start in range(0, number, 200):  # one that has asked for nothing yet is soon cut
            asked = (client.ask("GET", "/livez") for client in idle[start : start + 200])
            assert {answer.status for answer in await asyncio.gather(*asked)} == {200}
        async with Client(service.port, token) as client:
            answer = await client.ask("GET", "/widgets/")
        held = service.descriptors()
        for other in idle:
            other.close()

        assert held > number
        assert (answer.status, answer.seconds < 1) == (200, True)
        report.line(f"{number:,} idle connections", number + 1, "0", recovery=answer.seconds)
        await eventually(lambda: service.descriptors() < 1000)


@pytest.fixture
def descriptors(service: Service) -> Iterator[int]:
    """How many this process and those of the service may have open, which is as many as can be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for pid in [os.getpid(), service.process.pid, *service.workers()]:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
