"""The pool when more is asked of it than it has, and when those who asked go away."""

import asyncio
from typing import Any

import pytest

from megapolis import database
from megapolis.database import Insert, Param, Statement, connection
from megapolis.database.errors import DatabaseUnavailable
from megapolis.environment import limits
from tests.megapolis.asgi_request import AsgiRequest
from tests.megapolis.database.sample_model import Sample, SampleRow
from tests.megapolis.database.test_recovery import until_blocked
from tests.megapolis.database.test_transactions import outside

pytestmark = pytest.mark.usefixtures("samples")

insert = Insert(Sample, {"name": Param("name"), "number": Param("number")}, row=SampleRow)
everything = Statement(Sample.objects.order_by("id"), row=SampleRow)

SLEEP = b"SELECT pg_sleep(60)"


class TestSlowStatement:
    async def test_is_given_up_as_a_503_and_not_repeated(
        self, open_pool: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(limits, "STATEMENT_TIMEOUT", 0.5)
        await open_pool(size=1)

        with pytest.raises(DatabaseUnavailable):
            await database.fetch(SLEEP, [], reads=True)

        assert await everything.all() == []


class TestExhaustedPool:
    async def test_is_a_503_after_a_bounded_wait(
        self, open_pool: Any, handler: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(limits, "MAX_WAIT", 0.05)
        await open_pool(size=1)

        async with database.transaction():
            other = AsgiRequest("/select-one")
            await asyncio.create_task(outside(other.run(handler)))

        assert other.problem["status"] == 503
        assert other.problem["detail"] == "The database is temporarily unavailable"
        assert other.headers["Retry-After"] == "1"
        assert (await AsgiRequest("/select-one").run(handler)).status == 200

    async def test_is_a_503_for_a_transaction_too(
        self, open_pool: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(limits, "MAX_WAIT", 0.05)
        await open_pool(size=1)

        async def begin() -> None:
            async with database.transaction():
                pytest.fail("there is no connection")

        async with database.transaction():
            with pytest.raises(DatabaseUnavailable):
                await asyncio.create_task(outside(begin()))


class TestConnecting:
    async def test_to_a_server_that_lets_in_and_falls_silent_is_given_up(
        self, open_pool: Any, monkeypatch: pytest.MonkeyPatch, log: list[str]
    ) -> None:
        monkeypatch.setattr(limits, "DATABASE_CONNECT_TIMEOUT", 0.05)
        monkeypatch.setattr(connection, "SETTINGS", b"SELECT pg_sleep(1), $1::text")
        pool = await open_pool(size=1, connect_timeout=3)

        with pytest.raises(DatabaseUnavailable):
            await everything.all()
        await pool.filled()

        monkeypatch.undo()
        assert await everything.all() == []
        assert log[0].startswith("ERROR PostgreSQL is away: TimeoutError")


class TestCancelledCaller:
    async def test_has_its_statement_cancelled_and_the_connection_replaced(
        self, open_pool: Any, observer: Any
    ) -> None:
        await open_pool(size=1)
        slow = asyncio.create_task(database.fetch(SLEEP, [], reads=True))
        await until_blocked(observer)

        slow.cancel()

        with pytest.raises(asyncio.CancelledError):
            await slow
        assert await everything.all() == []

    async def test_costs_no_other_caller_its_write(self, open_pool: Any, observer: Any) -> None:
        """It may be the other's statement that the cancellation meets."""
        await open_pool(size=1)
        slow = asyncio.create_task(database.fetch(SLEEP, [], reads=True))
        write = asyncio.create_task(insert.one(name="one", number=1))
        await until_blocked(observer)

        slow.cancel()

        assert (await write).name == "one"
        assert len(await everything.all()) == 1

    async def test_never_costs_the_pool_a_connection_whenever_it_is_cancelled(
        self, open_pool: Any
    ) -> None:
        pool = await open_pool(size=2)
        for steps in range(30):
            tasks = [asyncio.create_task(everything.all()) for _ in range(6)]
            for _ in range(steps % 20):
                await asyncio.sleep(0)
            for task in tasks[:: 1 + steps % 2]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        async with database.transaction():
            assert await asyncio.create_task(outside(everything.all())) == []
        assert pool.is_connected


class TestLockedTable:
    @pytest.mark.parametrize("size", [4, 10])
    async def test_stops_no_statement_on_another_table(
        self, open_pool: Any, observer: Any, monkeypatch: pytest.MonkeyPatch, size: int
    ) -> None:
        monkeypatch.setattr(limits, "MAX_WAIT", 0.5)
        await open_pool(size=size)
        async with observer.transaction():
            await observer.execute("LOCK TABLE samples")
            blocked = [asyncio.create_task(everything.all()) for _ in range(50)]
            await until_blocked(observer)

            for _ in range(20):
                async with asyncio.timeout(0.4):
                    assert await database.fetch(b"SELECT 1", [], reads=True) == [(1,)]

        served = await asyncio.gather(*blocked, return_exceptions=True)
        assert [] in served
        assert all(each == [] or isinstance(each, DatabaseUnavailable) for each in served)
