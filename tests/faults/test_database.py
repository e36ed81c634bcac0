"""PostgreSQL that is restarted, frozen, locked, full, or changed under the load."""

import asyncio
import signal
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import psycopg
import pytest

from megapolis import limits
from megapolis.connection import CANCEL_TIMEOUT
from tests.faults.conftest import Report
from tests.faults.load import Answer, Client, Load
from tests.faults.service import Database, Service, running
from tests.waiting import eventually, until

RESTARTS = ("fast", "immediate", "kill -9")
TERMINATE = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND application_name <> 'the test'
"""


class TestRestart:
    @pytest.mark.parametrize(
        "how", [RESTARTS[0], *(pytest.param(how, marks=pytest.mark.faults) for how in RESTARTS[1:])]
    )
    async def test_under_load_is_told_as_503_and_over_at_once(
        self, load: Load, database: Database, report: Report, how: str
    ) -> None:
        async with load:
            await load.runs()
            await asyncio.to_thread(database.stop, how)
            await eventually(lambda: load.errors[503])
            await asyncio.to_thread(database.start)
            started = time.monotonic()
            await load.runs()

        assert set(load.errors) == {503}
        recovery = next_success(load, started) - started
        assert recovery < 1
        report.add(f"PostgreSQL restarted ({how}) under load", load, recovery=recovery)

    @pytest.mark.faults
    @pytest.mark.parametrize("how", RESTARTS)
    async def test_of_an_idle_service_is_over_with_the_first_request(
        self, service: Service, token: str, database: Database, report: Report, how: str
    ) -> None:
        async with Client(service.port, token) as client:
            await asyncio.to_thread(database.stop, how)
            assert (await client.ask("GET", "/widgets/")).status == 503
            await asyncio.to_thread(database.start)
            answer = await client.ask("GET", "/widgets/")

        assert answer.status == 200
        assert answer.seconds < 1
        report.line(f"PostgreSQL restarted ({how}), idle", 2, "1 × 503", recovery=answer.seconds)


class TestStart:
    @pytest.mark.faults
    async def test_without_a_database_is_alive_and_heals(
        self,
        given: dict[str, str],
        tmp_path: Path,
        token: str,
        database: Database,
        report: Report,
    ) -> None:
        database.stop("fast")
        with running(given, tmp_path) as service:
            async with Client(service.port, token) as client:
                asked = [
                    await client.ask("GET", path) for path in ("/livez", "/readyz", "/widgets/")
                ]
                await asyncio.to_thread(database.start)
                started = time.monotonic()
                healed = [await client.ask("GET", path) for path in ("/widgets/", "/readyz")]
                recovery = time.monotonic() - started

        assert [answer.status for answer in asked] == [200, 503, 503]
        assert [answer.status for answer in healed] == [200, 200]
        report.line("PostgreSQL down at start", 5, "2 × 503", recovery=recovery)


class TestLostCommit:
    async def test_is_a_503_and_repeating_it_makes_no_second_row(
        self, service: Service, token: str, database: Database, report: Report
    ) -> None:
        """A commit that waits for a replica is durable already when its connection is cut."""
        await asyncio.to_thread(set_replica, database, "'nowhere'")
        try:
            async with Client(service.port, token) as client:
                create = asyncio.create_task(client.ask("POST", "/widgets/", {"name": "commit"}))
                waits = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
                await eventually(lambda: database.execute(waits) or create.done())
                assert not create.done(), create.result()
                database.execute(TERMINATE)
                lost = await create
                await asyncio.to_thread(set_replica, database, "''")
                again = await client.ask("POST", "/widgets/", {"name": "commit"})
        finally:
            await asyncio.to_thread(set_replica, database, "''")

        assert (lost.status, again.status) == (503, 400)
        assert again.json()["detail"] == "Name already exists"
        assert database.execute("SELECT count(*) FROM widgets_widget WHERE name = 'commit'") == [
            (1,)
        ]
        report.line("connection lost during COMMIT", 2, "1 × 503", recovery=again.seconds)


def set_replica(database: Database, names: str) -> None:
    database.execute(f"ALTER SYSTEM SET synchronous_standby_names = {names}")
    database.execute("SELECT pg_reload_conf()")
    until(lambda: database.execute("SHOW synchronous_standby_names") == [(names.strip("'"),)])


@pytest.mark.faults
class TestFrozen:
    async def test_database_is_answered_within_the_time_budget_and_liveness_unharmed(
        self, service: Service, token: str, load: Load, database: Database, report: Report
    ) -> None:
        budget = limits.ANSWER_TIMEOUT + CANCEL_TIMEOUT + 1
        async with load, Client(service.port) as prober:
            await load.runs()
            database.signal(signal.SIGSTOP)
            frozen = time.monotonic()
            try:
                alive: list[Answer] = []
                while time.monotonic() - frozen < budget + 2:
                    alive.append(await prober.ask("GET", "/livez"))
                    await asyncio.sleep(0.2)
                ready = await prober.ask("GET", "/readyz")
            finally:
                database.signal(signal.SIGCONT)
            thawed = time.monotonic()
            await load.runs()

        assert {answer.status for answer in alive} == {200}
        assert max(answer.seconds for answer in alive) < 1
        assert ready.status == 503
        assert max(answer.seconds for answer in load.answers) < budget
        recovery = next_success(load, thawed) - thawed
        report.add(
            f"PostgreSQL stopped (SIGSTOP) for {thawed - frozen:.0f} s",
            load,
            recovery=recovery,
            note=f"slowest answer {max(x.seconds for x in load.answers):.1f} s",
        )


@pytest.mark.faults
class TestHeldLock:
    async def test_exhausts_the_pool_and_no_more_than_that(
        self, service: Service, token: str, database: Database, report: Report
    ) -> None:
        position = len(service.log)
        load = Load(service.port, token, clients=200)
        with database.connect() as lock:
            lock.execute("BEGIN; LOCK TABLE widgets_widget")
            async with load, Client(service.port) as stranger:
                await eventually(lambda: load.errors[503] > 300, within=40)
                others = [
                    await stranger.ask("GET", path)
                    for path in ("/openapi.json", "/widgets/", "/livez") * 5
                ]
                lock.execute("ROLLBACK")
                released = time.monotonic()
                await load.runs()

        assert [answer.status for answer in others] == [200, 401, 200] * 5
        assert max(answer.seconds for answer in others) < 1
        assert service.log[position:].count("are in use, and") <= len(service.workers())
        slowest = max(x.seconds for x in load.answers if x.status == 503)
        assert slowest < limits.ANSWER_TIMEOUT
        recovery = next_success(load, released) - released
        report.add(
            "a lock held, 200 clients", load, recovery=recovery, note=f"slowest {slowest:.1f} s"
        )


class TestTerminatedBackends:
    async def test_cost_at_most_one_answer_each(
        self, load: Load, database: Database, report: Report
    ) -> None:
        async with load:
            await load.runs()
            connections = database.backends()
            database.execute(TERMINATE)
            terminated = time.monotonic()
            await load.runs()

        assert load.errors[503] <= connections
        recovery = next_success(load, terminated) - terminated
        report.add(f"all {connections} backends terminated", load, recovery=recovery)


@pytest.mark.faults
class TestFullServer:
    async def test_is_told_as_503_and_over_when_there_is_room(
        self, load: Load, database: Database, report: Report
    ) -> None:
        async with load:
            await load.runs()
            with ExitStack() as hogs, database.connect() as killer:
                fill(database, hogs)
                killer.execute(TERMINATE.encode())
                fill(database, hogs)
                await eventually(lambda: load.errors[503] > 50)
            released = time.monotonic()
            await load.runs()

        recovery = next_success(load, released) - released
        assert recovery < 1
        report.add("max_connections reached", load, recovery=recovery)


def fill(database: Database, hogs: ExitStack) -> None:
    """Take every connection that the server has."""
    with suppress(psycopg.OperationalError):
        while True:
            hogs.enter_context(database.connect())


@pytest.mark.faults
class TestMigration:
    async def test_that_changes_a_table_is_not_noticed(
        self, load: Load, database: Database, report: Report
    ) -> None:
        async with load:
            await load.runs()
            for length in (300, 255):
                database.execute(f"ALTER TABLE widgets_widget ALTER name TYPE varchar({length})")
                database.execute("ALTER TABLE widgets_widget ADD note text")
                await load.runs()
                database.execute("ALTER TABLE widgets_widget DROP note")
                await load.runs()

        assert load.errors == {}
        report.add("a migration that changes a table under load", load)


def next_success(load: Load, since: float) -> float:
    """When the first request that succeeded after this was answered."""
    return min(x.at for x in load.answers if 200 <= x.status < 300 and x.at >= since)
