"""What callers leave unfinished, on the server and among each other."""

import asyncio
from typing import Any

import psycopg
import pytest

from megapolis import database
from megapolis.database import Insert, Param, Statement, execute
from megapolis.database import connection as factory
from megapolis.database.connections import PIPELINES
from megapolis.database.pipeline import State
from megapolis.database.wire import Connection
from megapolis.environment import limits
from tests.megapolis.database.connections import LENGTH, SLEEP, backend, until_asleep
from tests.megapolis.database.sample_model import Sample, SampleRow
from tests.megapolis.database.test_recovery import until_blocked
from tests.waiting import eventually, eventually_equals

pytestmark = pytest.mark.usefixtures("nothing_unhandled")

insert = Insert(Sample, {"name": Param("name"), "number": Param("number")}, row=SampleRow)
everything = Statement(Sample.objects.order_by("id"), row=SampleRow)

RUNNING = """
    SELECT count(*) FROM pg_stat_activity WHERE application_name = 'own pool' AND state = 'active'
"""


async def until_nothing_runs(observer: Any) -> None:
    async def running() -> Any:
        return await (await observer.execute(RUNNING)).fetchone()

    await eventually_equals(running, (0,))


class TestConnecting:
    async def test_that_is_given_up_is_cancelled_on_the_server(
        self, open_pool: Any, observer: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await open_pool(size=1)
        monkeypatch.setattr(limits, "DATABASE_CONNECT_TIMEOUT", 0.1)
        monkeypatch.setattr(factory, "SETTINGS", b"SELECT pg_sleep(60), $1::text")

        with pytest.raises(TimeoutError):
            await factory.connect()

        await until_nothing_runs(observer)


class TestConnectionAside:
    async def test_serves_several_callers_at_once(self, open_pool: Any) -> None:
        await open_pool()

        found = await asyncio.gather(
            *(database.fetch_aside(LENGTH, ["x" * number]) for number in range(20))
        )

        assert found == [[(number,)] for number in range(20)]

    async def test_that_is_being_made_does_not_outlive_the_pool(
        self, open_pool: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await open_pool()
        is_trying = asyncio.Event()

        async def connect_late(**parameters: Any) -> Any:
            is_trying.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(Connection, "connect", connect_late)
        asking = asyncio.create_task(database.fetch_aside(LENGTH, ["x"]))
        await is_trying.wait()
        await database.close_pool()
        await asyncio.wait([asking])

        assert isinstance(asking.exception(), database.DatabaseUnavailable)


class TestTransaction:
    async def test_may_not_have_two_nested_ones_open_at_once(
        self, samples: None, open_pool: Any
    ) -> None:
        """The end of one could undo the other."""
        await open_pool()

        async def nest(name: str) -> None:
            async with database.transaction():
                await insert.one(name=name, number=1)

        async with database.transaction():
            found = await asyncio.gather(nest("one"), nest("two"), return_exceptions=True)
            await nest("three")

        assert [type(each) for each in found] == [type(None), RuntimeError]
        assert [row.name for row in await everything.all()] == ["one", "three"]

    async def test_takes_no_statement_beside_an_open_nested_one(
        self, samples: None, open_pool: Any
    ) -> None:
        await open_pool()
        is_open, may_end = asyncio.Event(), asyncio.Event()

        async def nest() -> None:
            async with database.transaction():
                is_open.set()
                await may_end.wait()
                raise LookupError

        async with database.transaction():
            nesting = asyncio.create_task(nest())
            await is_open.wait()
            with pytest.raises(RuntimeError, match="nested transaction"):
                await insert.one(name="one", number=1)
            may_end.set()
            with pytest.raises(LookupError):
                await nesting
            await insert.one(name="two", number=2)

        assert [row.name for row in await everything.all()] == ["two"]

    @pytest.mark.parametrize("cancellations", [1, 2, 3])
    async def test_whose_caller_is_cancelled_again_and_again_leaves_nothing_running(
        self, open_pool: Any, observer: Any, cancellations: int
    ) -> None:
        pool = await open_pool(size=1)

        async def work() -> None:
            async with database.transaction():
                await database.fetch(SLEEP, [], reads=True)

        working = asyncio.create_task(work())
        await until_blocked(observer)
        for _ in range(cancellations):
            working.cancel()
            await asyncio.sleep(0)
        await asyncio.wait([working])

        assert working.cancelled()
        await until_nothing_runs(observer)
        assert await database.fetch(LENGTH, ["x"], reads=True) == [(1,)]
        assert all(each.state is not State.RESERVED for each in pool._connections)

    async def test_commits_nothing_of_a_nested_one_whose_task_is_cancelled_twice(
        self, samples: None, open_pool: Any, observer: Any
    ) -> None:
        await open_pool()

        async def nest() -> None:
            async with database.transaction():
                await insert.one(name="inner", number=1)
                await database.fetch(b"SELECT pg_sleep(60)", [], reads=True)

        async with database.transaction():
            await insert.one(name="outer", number=1)
            nesting = asyncio.create_task(nest())
            await until_blocked(observer)
            nesting.cancel()
            await asyncio.sleep(0)
            nesting.cancel()
            await asyncio.wait([nesting])

        assert [row.name for row in await everything.all()] == ["outer"]


class TestMigration:
    async def test_has_a_statement_prepared_once_more_on_each_connection(
        self, samples: None, open_pool: Any, observer: Any
    ) -> None:
        await open_pool(size=10)
        select = b"SELECT * FROM samples WHERE $1::int > 0"

        async def ask() -> None:
            asking = (database.fetch(select, [n], reads=True) for n in range(1, 101))
            assert await asyncio.gather(*asking) == [[]] * 100

        await ask()
        await observer.execute("ALTER TABLE samples ADD size integer")
        await ask()
        pool = execute._pool
        assert pool is not None

        plans = b"SELECT FROM pg_prepared_statements WHERE statement = $1::text"
        for each in pool._connections:
            assert len(await each.fetch(plans, [select.decode()])) <= 2
        assert len(pool._connections) == PIPELINES


class TestCopy:
    async def test_costs_those_behind_it_the_connection_and_not_more(
        self, connection: Connection
    ) -> None:
        """It is their connection that is lost, and not their statement that is wrong."""
        found = await asyncio.gather(
            connection.fetch(b"COPY (SELECT 1) TO STDOUT"),
            connection.fetch(LENGTH, ["x"]),
            return_exceptions=True,
        )

        assert isinstance(found[0], psycopg.NotSupportedError)
        assert isinstance(found[1], psycopg.OperationalError)
        assert connection.closed


async def test_an_aborted_connection_is_closed_when_its_statement_was_cancelled(
    connection: Connection, observer: Any
) -> None:
    pid = await backend(connection)
    await connection.command(b"BEGIN")
    sleeping = asyncio.create_task(connection.fetch(SLEEP))
    await until_asleep(observer, pid)

    connection.abort()

    with pytest.raises(psycopg.errors.QueryCanceled):
        await sleeping
    await eventually(lambda: connection.closed)
