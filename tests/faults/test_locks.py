"""PostgreSQL that is there and does not answer: it is frozen, or a table is locked."""

import asyncio
import signal
import time

import pytest

from megapolis import limits
from megapolis.connection import CANCEL_TIMEOUT
from tests.faults.conftest import Report, Serve
from tests.faults.liveness import assert_alive, probed, slowest_of
from tests.faults.load import Client, Load
from tests.faults.service import Database, Service

BUDGET = limits.ANSWER_TIMEOUT + CANCEL_TIMEOUT + 1
WAIT = 4
"""Long enough to be overtaken by on a busy machine."""
LOCK = "BEGIN; LOCK TABLE widgets_widget"
QUERYLESS = [("OPTIONS", "/widgets/"), ("GET", "/widgets/"), ("GET", "/nothing"), ("GET", "/livez")]

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


class TestExhaustedPool:
    async def test_bounds_the_wait_refuses_the_rest_at_once_and_serves_what_needs_no_query(
        self, serve: Serve, token: str, database: Database, report: Report
    ) -> None:
        """Of one worker. The first wait for WAIT, and from DATABASE_STALL on nobody else does."""
        with database.connect() as lock:
            async with serve({"DATABASE_WAIT": str(WAIT)}, workers=1) as service:
                load = Load(service.port, token, clients=200)
                async with load, Client(service.port, token) as late, Client(service.port) as other:
                    await load.runs()
                    lock.execute(LOCK)
                    await asyncio.sleep(limits.DATABASE_STALL + 1)
                    beyond = [await late.ask("GET", "/widgets/") for _ in range(20)]
                    others = [await other.ask(*request) for request in QUERYLESS * 5]
                    await asyncio.sleep(WAIT)
                    lock.execute("ROLLBACK")
                    released = time.monotonic()
                    await load.runs()
                log = service.log

        assert [answer.status for answer in others] == [204, 401, 404, 200] * 5
        assert max(answer.seconds for answer in others) < 1
        assert {answer.status for answer in beyond} == {503}
        at_once = max(answer.seconds for answer in beyond)
        assert at_once < 0.5
        slowest = max(answer.seconds for answer in load.answers if answer.status == 503)
        assert WAIT <= slowest < WAIT + 2
        assert log.count("are in use, and") == 1
        assert log.count("Overloaded: ") == 1
        report.add(
            f"pool exhausted by a held lock, {load.clients} clients",
            load,
            recovery=load.next_success(released) - released,
            note=f"waited {slowest:.1f} s, beyond it 503 within {at_once * 1000:.0f} ms",
        )
