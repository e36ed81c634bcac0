"""Statements on one connection, what else the server says on it, and its end."""

import asyncio
import gc
from typing import Any

import psycopg
import pytest
from psycopg.errors import NotSupportedError, UndefinedTable

from megapolis import environment
from megapolis.database.pipeline import State
from megapolis.database.wire import Connection
from tests.megapolis.database.connections import LENGTH, connect

pytestmark = pytest.mark.usefixtures("nothing_unhandled")

PLANS = b"SELECT statement FROM pg_prepared_statements WHERE statement LIKE 'SELECT length%'"


class TestStatement:
    async def test_is_prepared_once(self, connection: Connection) -> None:
        for _ in range(3):
            await connection.fetch(LENGTH, ["x"])

        assert len(await connection.fetch(PLANS)) == 1

    async def test_is_not_prepared_where_that_is_switched_off(
        self, connection: Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(environment, "DATABASE_PREPARED_STATEMENTS", False)

        for value in ("x", None, "é"):
            [[length]] = await connection.fetch(LENGTH, [value])
            assert length == (value and 1)

        assert await connection.fetch(PLANS) == []

    async def test_that_cannot_be_prepared_is_not_remembered(self, connection: Connection) -> None:
        with pytest.raises(UndefinedTable):
            await connection.fetch(b"SELECT number FROM late")
        await connection.fetch(b"CREATE TEMPORARY TABLE late AS SELECT 7 AS number")

        assert await connection.fetch(b"SELECT number FROM late") == [(7,)]

    async def test_that_fails_spoils_nothing(self, connection: Connection) -> None:
        for divisor in (0, 1, 0):
            try:
                [[result]] = await connection.fetch(b"SELECT 6 / $1::int", [divisor])
            except psycopg.errors.DivisionByZero:
                result = "an error"
            assert result == (6 if divisor else "an error")
        assert connection.is_idle

    async def test_may_not_be_two(self, connection: Connection) -> None:
        with pytest.raises(psycopg.errors.SyntaxError):
            await connection.fetch(b"SELECT 1; SELECT 2")

        assert connection.is_idle

    @pytest.mark.parametrize(
        "sql", [b"COPY (SELECT 1) TO STDOUT", b"COPY pg_class FROM STDIN", b"COPY late FROM STDIN"]
    )
    async def test_may_not_be_copy(self, connection: Connection, sql: bytes) -> None:
        await connection.fetch(b"CREATE TEMPORARY TABLE late (number integer)")

        with pytest.raises(psycopg.Error) as error:
            await connection.fetch(sql)

        assert connection.closed is isinstance(error.value, NotSupportedError)


class TestMessages:
    async def test_beside_the_reply_are_passed_over(self, connection: Connection) -> None:
        notices: list[str | None] = []
        connection.add_notice_handler(lambda notice: notices.append(notice.message_primary))

        await connection.fetch(b"DO $$ BEGIN RAISE NOTICE 'look'; END $$")
        await connection.fetch(b"SET application_name = 'another'")

        assert notices == ["look"]
        assert await connection.fetch(b"SHOW application_name") == [("another",)]

    async def test_to_an_idle_connection_are_passed_over(
        self, connection: Connection, observer: Any
    ) -> None:
        await connection.command(b"LISTEN news")

        for _ in range(100):
            await observer.execute("SELECT pg_notify('news', repeat('x', 7000))")

        assert connection.is_alive()
        assert connection.is_idle
        assert await connection.fetch(LENGTH, ["xxx"]) == [(3,)]


class TestPipeline:
    @pytest.mark.parametrize("is_read", [False, True])
    @pytest.mark.parametrize("is_prepared", [False, True])
    async def test_gives_each_caller_its_own_rows(
        self,
        connection: Connection,
        monkeypatch: pytest.MonkeyPatch,
        *,
        is_read: bool,
        is_prepared: bool,
    ) -> None:
        monkeypatch.setattr(environment, "DATABASE_PREPARED_STATEMENTS", is_prepared)
        rows = await asyncio.gather(
            *(
                connection.fetch(LENGTH + b" -- %d" % (n % 7), ["x" * n], is_read=is_read)
                for n in range(100)
            )
        )

        assert rows == [[(n,)] for n in range(100)]

    @pytest.mark.parametrize("is_read", [False, True])
    async def test_gives_each_statement_a_transaction_of_its_own(
        self, connection: Connection, *, is_read: bool
    ) -> None:
        """Otherwise reads of two tables could deadlock with a migration that locks both."""
        now = b"SELECT now()"
        rows = await asyncio.gather(*(connection.fetch(now, is_read=is_read) for _ in range(5)))

        assert len({str(each) for each in rows}) == 5

    async def test_lets_an_error_affect_no_other_statement(self, connection: Connection) -> None:
        statements = [(b"SELECT 6 / $1::int", [divisor]) for divisor in (1, 0, 2, 0, 3)]
        found = await asyncio.gather(
            *(connection.fetch(sql, arguments) for sql, arguments in statements),
            return_exceptions=True,
        )

        assert [found[0], found[2], found[4]] == [[(6,)], [(3,)], [(2,)]]
        assert all(isinstance(each, psycopg.errors.DivisionByZero) for each in found[1::2])

    async def test_takes_reads_and_writes_in_turns(self, connection: Connection) -> None:
        found = await asyncio.gather(
            connection.fetch(LENGTH, ["x"], is_read=True),
            connection.fetch(LENGTH, ["xx"]),
            connection.fetch(LENGTH, ["xxx"], is_read=True),
        )
        assert list(found) == [[(1,)], [(2,)], [(3,)]]

        read = asyncio.create_task(connection.fetch(LENGTH, ["x"], is_read=True))
        await asyncio.sleep(0)
        await connection.command(b"SELECT 1")
        assert await read == [(1,)]

    async def test_responds_to_a_write_when_it_is_committed(self, connection: Connection) -> None:
        """A constraint that is deferred fails after the statement's own rows have come."""
        await connection.fetch(
            b"CREATE TEMPORARY TABLE deferred (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)"
        )
        insert = b"INSERT INTO deferred VALUES (1), (1) RETURNING n"

        for _ in range(2):
            with pytest.raises(psycopg.errors.UniqueViolation):
                await connection.fetch(insert)

        assert await connection.fetch(b"SELECT n FROM deferred") == []
        assert connection.is_idle


class TestDisconnecting:
    async def test_may_be_repeated_and_leaves_others_alone(self, connection: Connection) -> None:
        descriptor = connection.pgconn.socket
        connection.disconnect()
        other = await connect()
        assert other.pgconn.socket == descriptor

        connection.disconnect()

        assert await other.fetch(LENGTH, ["x"]) == [(1,)]
        other.disconnect()

    async def test_waits_for_what_is_in_flight_on_a_retired_connection(
        self, connection: Connection
    ) -> None:
        task = asyncio.create_task(connection.fetch(LENGTH, ["four"]))
        await asyncio.sleep(0)

        connection.retire()

        assert connection.state is State.RETIRED
        assert not connection.closed
        assert await task == [(4,)]
        assert connection.closed


async def test_ten_thousand_statements_leave_nothing_behind(connection: Connection) -> None:
    async def run(times: int) -> int:
        for _ in range(times):
            await connection.fetch(LENGTH, ["x"])
        gc.collect()
        return len(gc.get_objects())

    before = await run(100)

    assert await run(10_000) - before < 100
