"""Statements on one connection, what else the server says on it, and its end."""

import gc
from typing import Any

import psycopg
import pytest
from psycopg.errors import NotSupportedError, UndefinedTable

from megapolis import environment
from megapolis.connection import Connection
from tests.megapolis.connections import LENGTH, connect

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

    async def test_is_known_by_another_name_after_all_were_forgotten(
        self, connection: Connection
    ) -> None:
        await connection.fetch(LENGTH, ["x"])

        await connection.forget_statements()

        assert await connection.fetch(LENGTH, ["xx"]) == [(2,)]
        assert len(await connection.fetch(PLANS)) == 1


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

        assert connection.is_alive
        assert connection.is_idle
        assert await connection.fetch(LENGTH, ["xxx"]) == [(3,)]


class TestHangingUp:
    async def test_may_be_repeated_and_leaves_others_alone(self, connection: Connection) -> None:
        descriptor = connection.pgconn.socket
        connection.hang_up()
        other = await connect()
        assert other.pgconn.socket == descriptor

        connection.hang_up()

        assert await other.fetch(LENGTH, ["x"]) == [(1,)]
        other.hang_up()

    async def test_goes_before_the_next_use_of_one_that_is_to_be_replaced(
        self, connection: Connection
    ) -> None:
        assert connection.age < 600

        connection.retire()

        assert connection.age == float("inf")


async def test_ten_thousand_statements_leave_nothing_behind(connection: Connection) -> None:
    async def run(times: int) -> int:
        for _ in range(times):
            await connection.fetch(LENGTH, ["x"])
        gc.collect()
        return len(gc.get_objects())

    before = await run(100)

    assert await run(10_000) - before < 100
