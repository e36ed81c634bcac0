"""The pool outside requests, and transactions."""

import asyncio
from contextlib import nullcontext
from typing import Any

import psycopg
import pytest

from megapolis import database
from megapolis.database import Insert, Param, Statement, execute, transactions
from tests.megapolis.database.sample_model import Sample, SampleRow

pytestmark = pytest.mark.usefixtures("samples")

insert = Insert(Sample, {"name": Param("name"), "number": Param("number")}, row=SampleRow)
everything = Statement(Sample.objects.order_by("id"), row=SampleRow)
lock = Statement(
    Sample.objects.filter(name=Param("name")).select_for_update(skip_locked=True), row=SampleRow
)


class Undo(Exception):
    """What a test raises to leave a transaction."""


async def names() -> list[str]:
    return [row.name for row in await everything.all()]


async def backend() -> int:
    [[pid]] = await database.fetch(b"SELECT pg_backend_pid()", [], reads=True)
    return int(pid)


class TestPool:
    @pytest.mark.usefixtures("open_pool")
    async def test_says_how_to_open_it_when_it_is_closed(self) -> None:
        with pytest.raises(RuntimeError, match=r"async with database.connected\(\)"):
            await everything.all()
        with pytest.raises(RuntimeError, match=r"async with database.connected\(\)"):
            async with database.transaction():
                pass
        await database.close_pool()

    @pytest.mark.usefixtures("open_pool")
    async def test_is_open_inside_connected(self) -> None:
        async with database.connected():
            async with database.connected():
                assert await names() == []
            assert await names() == []
        assert execute._pool is None

    async def test_may_be_closed_while_a_connection_is_out(self, open_pool: Any) -> None:
        await open_pool()

        async with database.transaction():
            await insert.one(name="one", number=1)
            await database.close_pool()
            await insert.one(name="two", number=2)

        await open_pool()
        assert await names() == ["one", "two"]


class TestTransaction:
    async def test_commits_what_happens_inside(self) -> None:
        async with database.transaction():
            await insert.one(name="one", number=1)
            await insert.one(name="two", number=2)
            assert await asyncio.create_task(outside(names())) == []

        assert await names() == ["one", "two"]

    async def test_undoes_it_all_for_an_exception(self) -> None:
        async def work() -> None:
            async with database.transaction():
                await insert.one(name="one", number=1)
                raise Undo

        with pytest.raises(Undo):
            await work()

        assert await names() == []

    async def test_has_one_connection(self) -> None:
        async with database.transaction():
            assert await backend() == await backend()

    async def test_inside_another_is_a_savepoint(self) -> None:
        async def violate() -> None:
            async with database.transaction():
                await insert.one(name="two", number=2)
                await insert.one(name="one", number=1)

        async with database.transaction():
            await insert.one(name="one", number=1)
            with pytest.raises(psycopg.errors.UniqueViolation):
                await violate()
            async with database.transaction():
                await insert.one(name="three", number=3)

        assert await names() == ["one", "three"]

    async def test_is_shared_by_the_tasks_started_inside(self) -> None:
        async def work() -> None:
            async with database.transaction():
                await asyncio.gather(*(insert.one(name=name, number=1) for name in ("one", "two")))
                assert len(set(await asyncio.gather(backend(), backend()))) == 1
                raise Undo

        with pytest.raises(Undo):
            await work()

        assert await names() == []

    async def test_refuses_a_task_that_outlives_it(self) -> None:
        over = asyncio.Event()

        async def late() -> None:
            await over.wait()
            await insert.one(name="late", number=1)

        async with database.transaction():
            task = asyncio.create_task(late())
        over.set()

        with pytest.raises(RuntimeError, match="the transaction in which this task was started"):
            await task
        assert await names() == []

    async def test_refuses_a_task_as_soon_as_its_end_is_on_the_way(self) -> None:
        async def late() -> None:
            await asyncio.sleep(0.01)
            await insert.one(name="late", number=1)

        async with database.transaction():
            slow = asyncio.create_task(database.fetch(b"SELECT pg_sleep(0.1)", [], reads=True))
            task = asyncio.create_task(late())
            await asyncio.sleep(0)

        with pytest.raises(RuntimeError, match="the transaction in which this task was started"):
            await task
        await slow
        assert await names() == []

    @pytest.mark.parametrize("nested", [False, True])
    async def test_does_not_pretend_to_commit_what_a_failed_statement_has_undone(
        self, *, nested: bool
    ) -> None:
        async def hide_a_failure() -> None:
            async with database.transaction():
                await insert.one(name="two", number=2)
                with pytest.raises(psycopg.errors.UniqueViolation):
                    await insert.one(name="two", number=2)

        async def work() -> None:
            async with database.transaction():
                await insert.one(name="one", number=1)
                with pytest.raises(RuntimeError, match="a statement failed in the transaction"):
                    await hide_a_failure()

        with nullcontext() if nested else pytest.raises(RuntimeError, match="a statement failed"):
            await (work() if nested else hide_a_failure())

        assert await names() == (["one"] if nested else [])

    async def test_is_apart_from_that_of_another_task(self) -> None:
        pids: list[int] = []
        both = asyncio.Barrier(2)

        async def work(name: str) -> None:
            async with database.transaction():
                pids.append(await backend())
                await both.wait()
                await insert.one(name=name, number=1)

        await asyncio.gather(work("one"), work("two"))

        assert len(set(pids)) == 2
        assert sorted(await names()) == ["one", "two"]

    async def test_locks_rows(self) -> None:
        await insert.one(name="one", number=1)

        async with database.transaction():
            assert len(await lock.all(name="one")) == 1
            assert await asyncio.create_task(outside(lock.all(name="one"))) == []


async def outside(awaitable: Any) -> Any:
    """Await what is to happen outside the transaction, as in another request."""
    transactions.current.set(None)
    return await awaitable
