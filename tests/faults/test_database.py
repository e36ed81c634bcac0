"""PostgreSQL that is restarted, away, full, or changed under the load."""

import asyncio
import time
from contextlib import ExitStack, suppress

import psycopg
import pytest

from tests.faults.conftest import Report, Serve
from tests.faults.load import Answer, Client, Load
from tests.faults.service import WORKERS, Database, Service
from tests.waiting import eventually, eventually_equals, until

RESTARTS = ("fast", "immediate", "kill -9")
TERMINATE = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND application_name <> 'the test'
"""
ALTER_NAME = 'ALTER TABLE widgets_widget ALTER name TYPE varchar({length}) COLLATE "pg_c_utf8"'
"""As Django alters a field. Without the collation the column gets another one, and searches no
index."""


SET = "SET default_transaction_read_only = on"
RESET = "RESET default_transaction_read_only"
RELOAD = "SELECT pg_reload_conf()"
READ_ONLY = {
    "the running server": (
        (f"ALTER SYSTEM {SET}", RELOAD),
        (f"ALTER SYSTEM {RESET}", RELOAD),
    ),
    "new sessions": (
        (f"ALTER DATABASE postgres {SET}", TERMINATE),
        (f"ALTER DATABASE postgres {RESET}",),
    ),
}
"""How the server becomes read-only, and how that ends."""


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
        recovery = load.next_success(started) - started
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
        self, serve: Serve, token: str, database: Database, report: Report
    ) -> None:
        database.stop("fast")
        async with serve() as service, Client(service.port, token) as client:
            asked = [await client.ask("GET", path) for path in ("/livez", "/readyz", "/widgets/")]
            await asyncio.to_thread(database.start)
            started = time.monotonic()
            healed = [await client.ask("GET", "/widgets/")]
            recovery = time.monotonic() - started
            # Ready it is after its first look at the keys, too.
            await eventually_equals(lambda: client.status("/readyz"), 200)

        assert [answer.status for answer in asked] == [200, 503, 503]
        assert [answer.status for answer in healed] == [200]
        report.line("PostgreSQL down at start", 5, "2 × 503", recovery=recovery)


class TestLostCommit:
    async def test_is_a_503_and_repeating_it_makes_no_second_row(
        self, service: Service, token: str, database: Database, report: Report
    ) -> None:
        """A commit that waits for a replica is durable already when its connection is cut."""
        await asyncio.to_thread(set_replica, database, "'nowhere'")
        try:
            async with Client(service.port, token) as client:
                name, create = await waiting_create(client, database)
                before = database.pids()
                database.execute(TERMINATE)
                lost = await create
                # One that is told to end may still be there, and would take the next request along.
                await eventually(lambda: before.isdisjoint(database.pids()))
                await asyncio.to_thread(set_replica, database, "''")
                again = await client.ask("POST", "/widgets/", {"name": name})
        finally:
            await asyncio.to_thread(set_replica, database, "''")

        assert (lost.status, again.status) == (503, 400)
        assert again.json()["detail"] == "Name already exists"
        count = f"SELECT count(*) FROM widgets_widget WHERE name = '{name}'"
        assert database.execute(count) == [(1,)]
        report.line("connection lost during COMMIT", 2, "1 × 503", recovery=again.seconds)


async def waiting_create(client: Client, database: Database) -> "tuple[str, asyncio.Task[Answer]]":
    """Create widgets until the commit of one waits for the replica; return its name and the task.

    Commits begin to wait when the checkpointer has read the setting, which nobody can see.
    """
    waits = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    for number in range(1000):
        name = f"commit {number}"
        create = asyncio.create_task(client.ask("POST", "/widgets/", {"name": name}))
        while not create.done():
            if await asyncio.to_thread(database.execute, waits):
                return name, create
    pytest.fail("no commit waits")


def set_replica(database: Database, names: str) -> None:
    database.execute(f"ALTER SYSTEM SET synchronous_standby_names = {names}")
    database.execute("SELECT pg_reload_conf()")
    until(lambda: database.execute("SHOW synchronous_standby_names") == [(names.strip("'"),)])


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
        recovery = load.next_success(terminated) - terminated
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

        recovery = load.next_success(released) - released
        assert recovery < 1
        report.add("max_connections reached", load, recovery=recovery)


@pytest.mark.faults
class TestReadOnly:
    @pytest.mark.parametrize("how", ["the running server", "new sessions"])
    async def test_is_told_as_503_and_over_with_the_first_write(
        self, load: Load, service: Service, database: Database, report: Report, how: str
    ) -> None:
        """As Supabase does when a disk is full. Reads go on meanwhile."""
        begin, end = READ_ONLY[how]
        admin = database.connect()
        admin.execute("SET default_transaction_read_only = off")
        async with load, Client(service.port, load.token) as client:
            await load.runs()
            for statement in begin:
                admin.execute(statement.encode())
            await eventually(lambda: load.errors[503] > 50)
            reads = [await client.status("/widgets/") for _ in range(10)]
            ready = await client.status("/readyz")
            for statement in end:
                admin.execute(statement.encode())
            ended = time.monotonic()
            await load.runs()
        admin.close()

        assert reads == [200] * 10
        assert ready == 503
        assert set(load.errors) == {503}
        assert service.log.count("PostgreSQL reports 25006") <= WORKERS
        recovery = load.next_success(ended) - ended
        assert recovery < 1
        report.add(f"read-only: {how}", load, recovery=recovery)


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
                database.execute(ALTER_NAME.format(length=length))
                database.execute("ALTER TABLE widgets_widget ADD note text")
                await load.runs()
                database.execute("ALTER TABLE widgets_widget DROP note")
                await load.runs()

        assert load.errors == {}
        report.add("a migration that changes a table under load", load)
