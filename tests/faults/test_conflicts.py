"""Transactions that PostgreSQL undoes in favour of others: deadlocks, serialization failures."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.faults.conftest import Report
from tests.faults.load import Client
from tests.faults.service import Database, Service
from tests.waiting import eventually

NAMES = {"40001": "serialization failure", "40P01": "deadlock"}
CONFLICT = """
    CREATE SEQUENCE attempts;
    CREATE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF nextval('attempts') % {every} = 0 THEN RETURN NEW; END IF;
        RAISE EXCEPTION USING ERRCODE = '{code}';
    END $$;
    CREATE TRIGGER conflict BEFORE INSERT OR UPDATE ON widgets_widget
        FOR EACH ROW EXECUTE FUNCTION conflict();
"""
SECOND_ROW = """
    CREATE SEQUENCE attempts;
    CREATE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF nextval('attempts') = 1 THEN
            WHILE NOT EXISTS (
                SELECT FROM pg_stat_activity
                WHERE application_name = 'the test' AND wait_event_type = 'Lock'
            ) LOOP
                PERFORM pg_sleep(0.01);
                PERFORM pg_stat_clear_snapshot();
            END LOOP;
        END IF;
        UPDATE widgets_widget SET updated_at = now() WHERE name = 'second row';
        RETURN NEW;
    END $$;
    CREATE TRIGGER conflict BEFORE UPDATE ON widgets_widget
        FOR EACH ROW WHEN (NEW.name = 'first row') EXECUTE FUNCTION conflict();
"""
CLEAN = """
    DROP FUNCTION IF EXISTS conflict CASCADE;
    DROP SEQUENCE IF EXISTS attempts;
    DELETE FROM widgets_widget WHERE name ~ '^40001 |^40P01 | row$';
"""
HAS_THE_FIRST_ROW = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
CHANGE = "UPDATE widgets_widget SET name = name WHERE name = '{} row'"
STORED = "SELECT count(*) FROM widgets_widget WHERE starts_with(name, %s)"


@pytest.fixture
def conflicts(database: Database) -> Iterator[Database]:
    """A PostgreSQL in which a test makes some. Its widgets do not outlive them."""
    yield database
    database.execute(CLEAN)


class TestConflict:
    @pytest.mark.parametrize("code", NAMES)
    async def test_that_passes_is_resolved_inside(
        self, service: Service, token: str, conflicts: Database, report: Report, code: str
    ) -> None:
        conflicts.execute(CONFLICT.format(code=code, every=2))
        async with Client(service.port, token) as client:
            created = [
                await client.ask("POST", "/widgets/", {"name": f"{code} {number}"})
                for number in range(10)
            ]
            path = created[0].headers["location"]
            changed = [
                await client.ask("PATCH", path, {"name": f"{code} again {number}"})
                for number in range(10)
            ]

        assert [answer.status for answer in created + changed] == [201] * 10 + [200] * 10
        assert conflicts.execute("SELECT last_value FROM attempts") == [(40,)]
        assert conflicts.execute(STORED, f"{code} ") == [(10,)]
        report.line(f"{NAMES[code]} at every first attempt", 20, "0", note="each retried once")

    @pytest.mark.parametrize("code", NAMES)
    async def test_that_stays_is_a_503(
        self, service: Service, token: str, conflicts: Database, report: Report, code: str
    ) -> None:
        conflicts.execute(CONFLICT.format(code=code, every=10_000))
        async with Client(service.port, token) as client:
            refused = [
                await client.ask("POST", "/widgets/", {"name": f"{code} {number}"})
                for number in range(10)
            ]
            stored = conflicts.execute(STORED, f"{code} ")
            attempts = conflicts.execute("SELECT last_value FROM attempts")
            conflicts.execute(CLEAN)
            again = await client.ask("POST", "/widgets/", {"name": f"{code} 0"})

        assert [answer.status for answer in refused] == [503] * 10
        assert {answer.headers["retry-after"] for answer in refused} == {"1"}
        assert (stored, attempts) == ([(0,)], [(20,)])
        assert again.status == 201
        report.line(f"{NAMES[code]} at every attempt", 11, "10 × 503", recovery=again.seconds)


class TestDeadlock:
    async def test_with_another_client_of_the_database_is_resolved_inside(
        self, service: Service, token: str, conflicts: Database, report: Report
    ) -> None:
        """The service has the first row and wants the second, the other client crosswise.

        PostgreSQL looks for a deadlock once, a second after a wait has begun. So the other waits
        before the service does.
        """
        async with Client(service.port, token) as client, asyncio.TaskGroup() as tasks:
            first = await client.ask("POST", "/widgets/", {"name": "first row"})
            await client.ask("POST", "/widgets/", {"name": "second row"})
            conflicts.execute(SECOND_ROW)
            with conflicts.connect() as other:
                # Who waits for this long looks for a deadlock, and gives up itself.
                other.execute("SET deadlock_timeout = '1min'")
                other.execute(f"BEGIN; {CHANGE.format('second')}")
                path = first.headers["location"]
                change = tasks.create_task(client.ask("PATCH", path, {"name": "first row"}))
                await eventually(lambda: conflicts.execute(HAS_THE_FIRST_ROW))
                await asyncio.to_thread(other.execute, CHANGE.format("first"))
                other.execute("COMMIT")
                answer = await change

        assert answer.status == 200, answer
        assert answer.json()["name"] == "first row"
        assert conflicts.execute("SELECT last_value FROM attempts") == [(3,)]  # one is the other's
        report.line("deadlock with another client", 1, "0", recovery=answer.seconds)
