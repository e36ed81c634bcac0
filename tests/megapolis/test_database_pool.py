"""The pool when more is asked of it than it has, and when those who asked go away."""

import asyncio
from typing import Any

import pytest

from megapolis import connector, database, limits
from megapolis.database_errors import DatabaseUnavailable
from megapolis.statements import Statement
from tests.megapolis.exchange import Exchange
from tests.megapolis.samples import Sample, SampleRow
from tests.megapolis.test_database import outside
from tests.megapolis.test_database_recovery import until_blocked

pytestmark = pytest.mark.usefixtures("samples")

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
        self, open_pool: Any, door: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(limits, "DATABASE_WAIT", 0.05)
        await open_pool(size=1)

        async with database.transaction():
            other = Exchange("/select-one")
            await asyncio.create_task(outside(other.run(door)))

        assert other.problem["status"] == 503
        assert other.problem["detail"] == "The database is temporarily unavailable"
        assert other.headers["Retry-After"] == "1"
        assert (await Exchange("/select-one").run(door)).status == 200

    async def test_is_a_503_for_a_transaction_too(
        self, open_pool: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(limits, "DATABASE_WAIT", 0.05)
        await open_pool(size=1)

        async def begin() -> None:
            async with database.transaction():
                pytest.fail("there is no connection")

        async with database.transaction():
            with pytest.raises(DatabaseUnavailable):
                await asyncio.create_task(outside(begin()))

    async def test_is_a_503_at_once_where_too_many_wait(
        self, open_pool: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(limits, "DATABASE_QUEUE", 1)
        monkeypatch.setattr(limits, "DATABASE_WAIT", 600.0)
        await open_pool(size=1)

        async with database.transaction():
            waiting = asyncio.create_task(outside(everything.all()))
            refused = asyncio.create_task(outside(everything.all()))
            with pytest.raises(DatabaseUnavailable):
                await refused

        assert await waiting == []


class TestConnecting:
    async def test_to_a_server_that_lets_in_and_falls_silent_is_given_up(
        self, open_pool: Any, monkeypatch: pytest.MonkeyPatch, log: list[str]
    ) -> None:
        monkeypatch.setattr(limits, "DATABASE_CONNECT_TIMEOUT", 0.05)
        monkeypatch.setattr(connector, "SETTINGS", b"SELECT pg_sleep(60), $1::text")
        pool = await open_pool(size=1, connect_timeout=3)

        with pytest.raises(DatabaseUnavailable):
            await everything.all()
        await pool.filled()

        monkeypatch.undo()
        assert await everything.all() == []
        assert log[0].startswith("ERROR PostgreSQL is away: TimeoutError")


class TestCancelledRequest:
    async def test_gives_its_connection_back_clean(self, open_pool: Any, observer: Any) -> None:
        pool = await open_pool(size=1)
        slow = asyncio.create_task(database.fetch(SLEEP, [], reads=True))
        await until_blocked(observer)

        slow.cancel()

        with pytest.raises(asyncio.CancelledError):
            await slow
        assert await everything.all() == []
        assert pool.available == 1

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
        assert pool.available == 2
