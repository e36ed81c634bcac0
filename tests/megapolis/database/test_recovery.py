"""What goes wrong between this service and a PostgreSQL that is there, and how it recovers."""

import asyncio
from typing import Any

import pytest

from megapolis import database
from megapolis.database import Insert, Param, Statement, Update
from megapolis.database.errors import DatabaseUnavailable
from tests.megapolis.database.sample_model import Sample, SampleRow
from tests.waiting import TIMEOUT

pytestmark = pytest.mark.usefixtures("samples")

insert = Insert(Sample, {"name": Param("name"), "number": Param("number")}, row=SampleRow)
everything = Statement(Sample.objects.order_by("id"), row=SampleRow)
increase = Update(
    Sample.objects.filter(name=Param("name")), {"number": Param("number")}, row=SampleRow
)

OWN = "application_name = 'own pool' AND datname = current_database()"
"""The other processes of this test run have such pools on the same server."""
BLOCKED = f"""
    SELECT FROM pg_stat_activity WHERE {OWN} AND wait_event_type IN ('Lock', 'Timeout')
"""
TERMINATE = f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {OWN}"

CONFLICT = """
    CREATE SEQUENCE attempts OWNED BY samples.id;
    CREATE OR REPLACE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF nextval('attempts') % 2 = 1 THEN RAISE EXCEPTION USING ERRCODE = '{code}'; END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER conflict BEFORE INSERT ON samples FOR EACH ROW EXECUTE FUNCTION conflict();
"""


async def terminate(observer: Any, *, when: str = "true") -> int:
    """Kill connections of the pool, and wait until they are gone; returns how many."""
    cursor = await observer.execute(f"{TERMINATE} AND {when}")
    return len(await cursor.fetchall())


async def until_blocked(observer: Any, *, number: int = 1) -> None:
    """Return when so many statements of the pool wait for a lock, or sleep."""
    async with asyncio.timeout(TIMEOUT):
        while len(await (await observer.execute(BLOCKED)).fetchall()) < number:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


class TestIdleConnections:
    async def test_that_died_are_replaced_before_anybody_notices(
        self, open_pool: Any, observer: Any, log: list[str]
    ) -> None:
        await open_pool(size=3)

        for number in range(3):
            assert await terminate(observer) > 0
            await insert.one(name=str(number), number=number)  # a write, which is not repeated

        assert len(await everything.all()) == 3
        assert log == []


class TestConnectionThatDies:
    async def test_under_a_read_is_replaced_and_the_read_repeated(
        self, open_pool: Any, observer: Any
    ) -> None:
        await open_pool()
        await observer.execute("SELECT pg_advisory_lock(1)")
        read = asyncio.create_task(
            database.fetch(b"SELECT pg_advisory_lock_shared(1)", [], reads=True)
        )
        await until_blocked(observer)

        await terminate(observer, when="wait_event_type = 'Lock'")
        await observer.execute("SELECT pg_advisory_unlock(1)")

        assert len(await read) == 1

    async def test_under_a_write_is_a_503_and_the_write_is_not_repeated(
        self, open_pool: Any, observer: Any
    ) -> None:
        await open_pool()
        async with observer.transaction():
            await observer.execute("LOCK TABLE samples")
            write = asyncio.create_task(insert.one(name="one", number=1))
            await until_blocked(observer)
            await terminate(observer, when="wait_event_type = 'Lock'")

        with pytest.raises(DatabaseUnavailable):
            await write
        assert await everything.all() == []

    async def test_inside_a_transaction_is_a_503(self, open_pool: Any, observer: Any) -> None:
        await open_pool()

        async def lose_the_connection() -> None:
            async with database.transaction():
                await insert.one(name="one", number=1)
                await terminate(observer, when="state = 'idle in transaction'")
                await insert.one(name="two", number=2)

        with pytest.raises(DatabaseUnavailable):
            await lose_the_connection()

        assert await everything.all() == []


class TestPlan:
    @pytest.mark.parametrize(
        "change",
        ["ALTER TABLE samples ALTER number TYPE bigint", "ALTER TABLE samples ADD extra text"],
    )
    async def test_that_a_migration_made_stale_is_made_again(
        self, open_pool: Any, observer: Any, change: str
    ) -> None:
        await open_pool(size=1)
        await insert.one(name="one", number=1)
        await everything.all()

        await observer.execute(change)

        assert len(await everything.all()) == 1
        assert (await increase.one(name="one", number=2)).number == 2

    @pytest.mark.parametrize(
        "change", ["ALTER TABLE samples ALTER number TYPE bigint", "DEALLOCATE ALL"]
    )
    async def test_that_is_stale_inside_a_transaction_is_a_503_once(
        self, open_pool: Any, observer: Any, change: str
    ) -> None:
        await open_pool(size=1)
        await everything.all()
        if change.startswith("ALTER"):
            await observer.execute(change)
        else:
            await deallocate()

        with pytest.raises(DatabaseUnavailable):
            async with database.transaction():
                await everything.all()

        async with database.transaction():
            assert await everything.all() == []

    async def test_that_is_stale_on_every_connection_is_made_again_on_the_one_in_use(
        self, open_pool: Any, observer: Any
    ) -> None:
        """Given back meanwhile, it would go to the next who waits, and leave a stale one."""
        pool = await open_pool(size=2)
        await pool.filled()
        await asyncio.gather(everything.all(), everything.all())
        await observer.execute("ALTER TABLE samples ALTER number TYPE bigint")
        await observer.execute("SELECT pg_advisory_lock(1), pg_advisory_lock(2)")
        locked = (b"SELECT pg_advisory_lock_shared(1)", b"SELECT pg_advisory_lock_shared(2)")

        first = asyncio.create_task(database.fetch(locked[0], [], reads=True))
        await until_blocked(observer)
        read = asyncio.create_task(everything.all())
        second = asyncio.create_task(database.fetch(locked[1], [], reads=True))
        await until_blocked(observer, number=2)
        await observer.execute("SELECT pg_advisory_unlock(1)")

        assert await read == []
        await observer.execute("SELECT pg_advisory_unlock(2)")
        await asyncio.gather(first, second)

    async def test_that_somebody_dropped_is_made_again(self, open_pool: Any) -> None:
        await open_pool(size=1)
        await everything.all()

        await deallocate()

        assert await everything.all() == []


async def deallocate() -> None:
    """Drop every plan without psycopg's knowledge."""
    await database.fetch(b"DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$", [], reads=False)


class TestConflict:
    @pytest.mark.parametrize("code", ["40P01", "40001"])
    async def test_with_another_transaction_is_resolved_by_repeating_the_statement(
        self, open_pool: Any, observer: Any, code: str
    ) -> None:
        await observer.execute(CONFLICT.format(code=code))
        await open_pool()

        assert (await insert.one(name="one", number=1)).name == "one"

        with pytest.raises(DatabaseUnavailable):
            async with database.transaction():
                await insert.one(name="two", number=2)
        assert len(await everything.all()) == 1
