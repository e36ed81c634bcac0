"""Statements that meet each other at the edges: an end of a transaction, a Sync, an error."""

import asyncio
import time
from typing import Any

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from megapolis import database
from megapolis.database import Insert, Param, Statement
from megapolis.database.errors import ValueNotStorable
from megapolis.database.wire import Connection
from tests.megapolis.database.connections import LENGTH
from tests.megapolis.database.sample_model import Sample, SampleRow
from tests.waiting import TIMEOUT

pytestmark = pytest.mark.usefixtures("nothing_unhandled")

insert = Insert(Sample, {"name": Param("name"), "number": Param("number")}, row=SampleRow)
everything = Statement(Sample.objects.order_by("id"), row=SampleRow)

SLEEP = b"SELECT pg_sleep(2)"


async def give_up(sql: bytes) -> None:
    """Have a statement run that its caller does not wait for."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await database.fetch(sql, [], reads=False)


class TestTransaction:
    @pytest.mark.parametrize("sql", [SLEEP, b"SELECT 1 / (pg_sleep(0.06)::text = 'x')::int"])
    async def test_that_a_statement_in_flight_spoils_is_not_acknowledged(
        self, samples: None, open_pool: Any, sql: bytes
    ) -> None:
        """PostgreSQL responds to its COMMIT with a silent rollback."""
        await open_pool()

        with pytest.raises(Exception, match="failed in the transaction"):  # noqa: PT012
            async with database.transaction():
                await insert.one(name="one", number=1)
                await give_up(sql)

        assert await everything.all() == []

    async def test_cancels_a_second_statement_that_its_caller_leaves(
        self, samples: None, open_pool: Any
    ) -> None:
        await open_pool()
        started = time.monotonic()

        with pytest.raises(TimeoutError):  # noqa: PT012
            async with database.transaction():
                for _ in range(2):
                    with pytest.raises(TimeoutError):
                        async with asyncio.timeout(0.05), database.transaction():
                            await database.fetch(SLEEP, [], reads=False)
                raise TimeoutError

        assert time.monotonic() - started < 1.5

    async def test_keeps_its_own_error_if_it_cannot_be_undone(
        self, samples: None, open_pool: Any, observer: Any
    ) -> None:
        pool = await open_pool(size=1)

        with pytest.raises(ValueError, match="mine"):  # noqa: PT012
            async with database.transaction():
                pid = (await database.fetch(b"SELECT pg_backend_pid()", [], reads=True))[0][0]
                await observer.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
                raise ValueError("mine")

        assert await everything.all() == []
        assert pool


class TestSync:
    async def test_comes_before_a_response_is_read(self, connection: Connection) -> None:
        """An error is sent at once, and a statement of 64 KiB is, too."""
        divide = b"SELECT length($1::text) / 0"
        for _ in range(2):
            failing = asyncio.create_task(connection.fetch(divide, ["x" * 100_000], is_read=True))
            await asyncio.sleep(0)
            time.sleep(0.05)  # noqa: ASYNC251 - the event loop is late
            connection.read()
            async with asyncio.timeout(TIMEOUT):
                with pytest.raises(psycopg.errors.DivisionByZero):
                    await failing
                assert await connection.fetch(LENGTH, ["x"], is_read=True) == [(1,)]
                assert await connection.fetch(LENGTH, ["xx"]) == [(2,)]
            assert connection.pgconn.transaction_status == TransactionStatus.IDLE


class TestReadsThatFail:
    async def test_in_two_ways_one_after_the_other_are_sent_again_each_time(
        self, open_pool: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await open_pool()
        found = [
            psycopg.OperationalError("the connection was lost"),
            psycopg.errors.FeatureNotSupported("cached plan must not change result type"),
        ]
        fetch = Connection.fetch

        async def fail(self: Connection, *arguments: Any, **options: Any) -> Any:
            if found:
                raise found.pop(0)
            return await fetch(self, *arguments, **options)

        monkeypatch.setattr(Connection, "fetch", fail)

        assert await database.fetch(LENGTH, ["x"], reads=True) == [(1,)]

    async def test_together_are_sent_twice_at_most(
        self, open_pool: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each of them would otherwise be sent once more for each that failed before it."""
        await open_pool()
        sent = 0
        send = Connection._send

        def count(self: Connection, *arguments: Any, **options: Any) -> None:
            nonlocal sent
            sent += 1
            send(self, *arguments, **options)

        monkeypatch.setattr(Connection, "_send", count)
        found = await asyncio.gather(
            *(database.fetch(b"SELECT 6 / ($1::int % 2)", [n], reads=True) for n in range(100)),
            return_exceptions=True,
        )

        assert found[1::2] == [[(6,)]] * 50
        assert sum(isinstance(each, ValueNotStorable) for each in found) == 50
        assert sent <= 200
