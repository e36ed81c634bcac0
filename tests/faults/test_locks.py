"""PostgreSQL that is there and does not answer: it is frozen, or a table is locked."""

import asyncio
import signal
import time

import pytest

from megapolis.database.wire import CANCEL_TIMEOUT
from megapolis.environment import limits
from tests.faults.conftest import Report
from tests.faults.liveness import assert_alive, probed, slowest_of
from tests.faults.load import Answer, Client, Load
from tests.faults.service import Database, Service

BUDGET = limits.ANSWER_TIMEOUT + CANCEL_TIMEOUT + 1
LOCKED = 3
LOCK = "BEGIN; LOCK TABLE widgets_widget"

pytestmark = pytest.mark.faults


class TestFrozen:
    async def test_database_is_answered_within_the_time_budget_and_liveness_unharmed(
        self, service: Service, load: Load, database: Database, report: Report
    ) -> None:
        async with load, probed(service) as alive, Client(service.port) as client:
            await load.runs()
            database.signal(signal.SIGSTOP)
            frozen = time.monotonic()
            try:
                await asyncio.sleep(30)
                ready = await client.ask("GET", "/readyz")
            finally:
                database.signal(signal.SIGCONT)
            thawed = time.monotonic()
            await load.runs()

        assert_alive(alive, seconds=30)
        assert ready.status == 503
        slowest = max(answer.seconds for answer in load.answers)
        assert slowest < BUDGET
        report.add(
            f"PostgreSQL stopped (SIGSTOP) for {thawed - frozen:.0f} s",
            load,
            recovery=load.next_success(thawed) - thawed,
            note=f"slowest answer {slowest:.1f} s, `/livez` {slowest_of(alive)}",
        )


class TestHeldLock:
    async def test_for_a_minute_is_answered_within_the_time_budget_and_liveness_unharmed(
        self, service: Service, load: Load, database: Database, report: Report
    ) -> None:
        with database.connect() as lock:
            async with load, probed(service) as alive:
                await load.runs()
                lock.execute(LOCK)
                locked = time.monotonic()
                await asyncio.sleep(60)
                during = [x for x in load.answers if x.at > locked + BUDGET]
                lock.execute("ROLLBACK")
                released = time.monotonic()
                await load.runs()

        assert_alive(alive, seconds=60)
        assert {answer.status for answer in during} == {503}
        slowest = max(answer.seconds for answer in load.answers)
        assert slowest < BUDGET
        report.add(
            "a table locked for a minute",
            load,
            recovery=load.next_success(released) - released,
            note=f"slowest answer {slowest:.1f} s, `/livez` {slowest_of(alive)}",
        )


class TestLockedTable:
    async def test_stops_only_what_needs_it(
        self, service: Service, token: str, database: Database, report: Report
    ) -> None:
        load = Load(service.port, token, clients=100)
        others: list[Answer] = []
        ready: list[Answer] = []

        async def ask(path: str, answers: list[Answer]) -> None:
            async with Client(service.port, token) as client:
                while not load.stopped:
                    answers.append(await client.ask("GET", path))
                    await asyncio.sleep(0.005)

        with database.connect() as lock:
            async with load:
                await load.runs()
                lock.execute(LOCK)
                locked = time.monotonic()
                asking = [asyncio.create_task(ask("/auth/me", others)) for _ in range(10)]
                asking.append(asyncio.create_task(ask("/readyz", ready)))
                await asyncio.sleep(LOCKED)
                lock.execute("ROLLBACK")
                released = time.monotonic()
                await load.runs()
            await asyncio.gather(*asking)

        during = [answer for answer in others if answer.at < released]
        assert {answer.status for answer in (*during, *ready)} == {200}
        p99 = sorted(answer.seconds for answer in during)[int(len(during) * 0.99)]
        assert p99 < 0.3
        blocked = [answer for answer in load.answers if locked + 0.1 < answer.at < released]
        assert {answer.status for answer in blocked} <= {503}
        slowest = max(answer.seconds for answer in load.answers)
        assert slowest < LOCKED + 1
        report.add(
            f"a table locked for {LOCKED} s, {load.clients} clients",
            load,
            recovery=load.next_success(released) - released,
            note=f"p99 of `/auth/me` {p99 * 1000:.0f} ms, `/readyz` 200, slowest {slowest:.1f} s",
        )
