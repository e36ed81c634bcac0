"""Statements on one connection: what they take and give, and all that can go wrong under them."""

import asyncio
import datetime as dt
import gc
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from ipaddress import ip_address, ip_network
from typing import Any
from uuid import UUID

import psycopg
import pytest
import uvloop
from psycopg.errors import NotSupportedError, QueryCanceled, UndefinedTable
from psycopg.pq import TransactionStatus
from psycopg.types.json import Jsonb
from psycopg.types.range import Range

from megapolis import connection as module
from megapolis import connector, environment
from megapolis.connection import Connection
from tests.waiting import PATIENCE, eventually, eventually_equals

SLEEP = b"SELECT pg_sleep(60)"
LENGTH = b"SELECT length($1::text)"
PLANS = b"SELECT statement FROM pg_prepared_statements WHERE statement LIKE 'SELECT length%'"
UTC = dt.UTC


async def connect() -> Connection:
    connection = await Connection.connect(**connector.connection_parameters())
    connection.listen()
    return connection


@pytest.fixture
async def connection(pool: None) -> AsyncIterator[Connection]:
    connection = await connect()
    yield connection
    connection.hang_up()


@pytest.fixture(autouse=True)
async def nothing_unhandled(pool: None) -> AsyncIterator[None]:
    """No callback fails, and no exception of a task or future is left lying about."""
    told: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context))
    yield
    gc.collect()
    await asyncio.sleep(0)
    loop.set_exception_handler(None)
    assert told == []


async def backend(connection: Connection) -> int:
    [[pid]] = await connection.fetch(b"SELECT pg_backend_pid()")
    return int(pid)


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """The server process does nothing meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def until_active(connection: Connection) -> None:
    await eventually(lambda: connection.pgconn.transaction_status == TransactionStatus.ACTIVE)


async def until_asleep(observer: Any, pid: int, event: str = "PgSleep") -> None:
    """Return when the server works on `SLEEP`: it ignores a cancellation that comes before."""
    sql = "SELECT wait_event FROM pg_stat_activity WHERE pid = %s"

    async def found() -> Any:
        return await (await observer.execute(sql, [pid])).fetchone()

    await eventually_equals(found, (event,))


class TestRows:
    @pytest.mark.parametrize(
        "values",
        [
            "1::smallint, 2::integer, 3::bigint, 1.50::numeric, 'NaN'::numeric, 0.1::float8, NULL",
            "true, false, NULL::boolean, 'text', 'é😀'::varchar, 'c '::char(3), ''",
            "'2024-02-29'::date, '12:30:01.5'::time, '12:30+02'::timetz, '1 day 2:03'::interval",
            "'2024-02-29 12:30:01.5'::timestamp, '2024-02-29 12:30:01.5+02'::timestamptz",
            "'6f1b5d2e-0000-4000-8000-000000000001'::uuid, '\\x00ff'::bytea, 3::oid",
            """'{"a": [1, null, "é"]}'::jsonb, '[1.0]'::json, 'null'::jsonb""",
            "ARRAY[1, NULL, 3], ARRAY['a', 'b,c', NULL, ''], '{}'::text[], ARRAY[[1, 2], [3, 4]]",
            "'[1,5)'::int4range, 'empty'::int8range, '{[1,2),[4,5)}'::int4multirange",
            "'10.0.0.1'::inet, '10.0.0.0/8'::cidr, ROW(1, 'a'), '(1,2)'::point, 'p'::\"char\"",
        ],
    )
    async def test_are_those_that_a_cursor_of_psycopg_yields(
        self, connection: Connection, observer: Any, values: str
    ) -> None:
        sql = f"SELECT {values} FROM generate_series(1, 2)".encode()

        for _ in range(2):
            rows = await connection.fetch(sql)

            expected = await (await observer.execute(sql)).fetchall()
            assert repr(rows) == repr(expected)

    @pytest.mark.parametrize("sql", [b"SET work_mem = '4MB'", b"", b"SELECT 1 WHERE false"])
    async def test_are_none_where_a_statement_yields_none(
        self, connection: Connection, sql: bytes
    ) -> None:
        assert await connection.fetch(sql) == []

    async def test_arrive_whole_however_much_it_is(self, connection: Connection) -> None:
        rows = await connection.fetch(
            b"SELECT n, repeat('x', 1000) FROM generate_series(1, 10000) n"
        )
        [[value]] = await connection.fetch(b"SELECT repeat('y', 10000000)")

        assert [number for number, _ in rows] == list(range(1, 10_001))
        assert {text for _, text in rows} == {"x" * 1000}
        assert value == "y" * 10_000_000

    async def test_are_not_kept(self, connection: Connection) -> None:
        await connection.fetch(LENGTH, ["x"])

        assert connection._statements[LENGTH].transformer.pgresult is None

    async def test_are_each_tasks_own(self, connection: Connection) -> None:
        rows = await asyncio.gather(
            *(connection.fetch(LENGTH, ["x" * length]) for length in range(50))
        )

        assert rows == [[(length,)] for length in range(50)]


class TestArguments:
    @pytest.mark.parametrize(
        ("value", "kind"),
        [
            (None, "integer"),
            (True, "boolean"),
            (-1, "smallint"),
            (2**62, "bigint"),
            (10**40, "numeric"),
            (0.1, "float8"),
            (Decimal("1.50"), "numeric"),
            ('it\'s \\ "quoted" é😀\n', "text"),
            ("x" * 1_000_000, "text"),
            (b"\x00\xff", "bytea"),
            (memoryview(b"\x00\xff"), "bytea"),
            (UUID(int=7), "uuid"),
            (dt.date(2024, 2, 29), "date"),
            (dt.time(12, 30), "time"),
            (dt.datetime(2024, 2, 29, 12, tzinfo=UTC), "timestamptz"),
            (dt.datetime(2024, 2, 29, 12), "timestamp"),  # noqa: DTZ001 - without, on purpose
            (dt.timedelta(days=1, seconds=2), "interval"),
            ([1, None, 3], "bigint[]"),
            (["a,b", None, '"', "{}", ""], "text[]"),
            ([], "text[]"),
            ([[1, 2], [3, 4]], "integer[]"),
            ([UUID(int=7)], "uuid[]"),
            (Jsonb({"a": [1, None, "é"]}), "jsonb"),
            (Jsonb(None), "jsonb"),
            (Range(1, 5), "int4range"),
            (ip_address("10.0.0.1"), "inet"),
            (ip_network("10.0.0.0/8"), "cidr"),
        ],
        ids=lambda value: type(value).__name__,
    )
    async def test_arrive_as_from_a_cursor_of_psycopg(
        self, connection: Connection, observer: Any, value: Any, kind: str
    ) -> None:
        rows = await connection.fetch(f"SELECT $1::{kind}".encode(), [value])

        assert rows == await (await observer.execute(f"SELECT %s::{kind}", [value])).fetchall()

    async def test_may_be_of_another_type_each_time(self, connection: Connection) -> None:
        for value in (1, None, 2**40, Decimal(3), "4"):
            [[found]] = await connection.fetch(b"SELECT $1::numeric::text", [value])

            assert found == (None if value is None else str(value))

    @pytest.mark.parametrize(
        ("value", "error"),
        [("a\x00b", psycopg.DataError), ("\ud800", UnicodeEncodeError), (object(), TypeError)],
        ids=["NUL", "lone surrogate", "object"],
    )
    async def test_that_cannot_be_sent_are_refused_and_spoil_nothing(
        self, connection: Connection, value: Any, error: type[Exception]
    ) -> None:
        with pytest.raises((error, psycopg.Error)):
            await connection.fetch(LENGTH, [value])

        assert await connection.fetch(LENGTH, ["four"]) == [(4,)]


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


class TestCancellation:
    @pytest.mark.parametrize("argument", ["x", "x" * 1_000_000], ids=["small", "large"])
    @pytest.mark.parametrize("cancellations", [1, 2])
    async def test_at_any_moment_leaves_a_connection_in_order_or_closed(
        self, connection: Connection, argument: str, cancellations: int
    ) -> None:
        for steps in range(40):
            sql = LENGTH + b" -- %d" % steps  # is prepared, and then executed
            task = asyncio.create_task(connection.fetch(sql, [argument]))
            for _ in range(steps):
                await asyncio.sleep(0)
            for _ in range(cancellations):
                task.cancel()
                await asyncio.sleep(0)
            await asyncio.wait([task])
            if connection.closed:
                assert cancellations == 2
                connection = await connect()

            assert connection.is_idle
            assert await connection.fetch(sql, ["four"]) == [(4,)]
        connection.hang_up()

    async def test_stops_the_statement_on_the_server(
        self, connection: Connection, observer: Any
    ) -> None:
        pid = await backend(connection)
        task = asyncio.create_task(connection.fetch(SLEEP))
        await until_asleep(observer, pid)

        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task
        assert connection.is_idle
        state = await observer.execute("SELECT state FROM pg_stat_activity WHERE pid = %s", [pid])
        assert await state.fetchall() == [("idle",)]

    @pytest.mark.parametrize("lost", [False, True])
    async def test_together_with_the_reply_finds_nothing_to_stop(
        self, connection: Connection, monkeypatch: pytest.MonkeyPatch, *, lost: bool
    ) -> None:
        hand_over = connection._hand_over

        def hand_over_and_cancel(outcome: Any) -> None:
            hand_over(psycopg.OperationalError("lost") if lost else outcome)
            task.cancel()

        await connection.fetch(LENGTH, ["x"])
        monkeypatch.setattr(connection, "_hand_over", hand_over_and_cancel)
        task = asyncio.create_task(connection.fetch(LENGTH, ["x"]))

        with pytest.raises(asyncio.CancelledError):
            await task

        monkeypatch.undo()
        assert await connection.fetch(LENGTH, ["four"]) == [(4,)]

    @pytest.mark.parametrize("argument", ["x", "x" * 1_000_000], ids=["small", "large"])
    async def test_closes_the_connection_if_the_server_does_not_react(
        self, connection: Connection, monkeypatch: pytest.MonkeyPatch, argument: str
    ) -> None:
        monkeypatch.setattr(module, "CANCEL_TIMEOUT", 0.01)
        with stopped(await backend(connection)):
            task = asyncio.create_task(connection.fetch(LENGTH, [argument]))
            await until_active(connection)

            task.cancel()

            with pytest.raises(asyncio.CancelledError):
                await task
        assert connection.closed

    async def test_closes_the_connection_at_once_if_it_is_repeated(
        self, connection: Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "CANCEL_TIMEOUT", 600.0)
        with stopped(await backend(connection)):
            task = asyncio.create_task(connection.fetch(LENGTH, ["x"]))
            await until_active(connection)
            task.cancel()
            await asyncio.sleep(0.01)
            assert not task.done()

            task.cancel()

            with pytest.raises(asyncio.CancelledError):
                await task
        assert connection.closed
        assert task.cancelling() == 2

    async def test_of_one_who_waits_for_his_turn_is_not_that_of_another(
        self, connection: Connection, observer: Any
    ) -> None:
        pid = await backend(connection)
        await observer.execute("SELECT pg_advisory_lock(1)")
        first = asyncio.create_task(connection.fetch(b"SELECT pg_advisory_lock(1)::text"))
        await until_asleep(observer, pid, "advisory")
        second = asyncio.create_task(connection.fetch(LENGTH, ["x"]))
        await asyncio.sleep(0)

        second.cancel()

        await asyncio.wait([second])
        await observer.execute("SELECT pg_advisory_unlock(1)")
        assert await first == [("",)]
        assert second.cancelled()

    async def test_by_the_server_is_an_error(self, connection: Connection, observer: Any) -> None:
        pid = await backend(connection)
        task = asyncio.create_task(connection.fetch(SLEEP))
        await until_asleep(observer, pid)

        await observer.execute("SELECT pg_cancel_backend(%s)", [pid])

        with pytest.raises(QueryCanceled):
            await task
        assert connection.is_idle


class Proxy:
    """The connection of libpq, which cannot send."""

    def __init__(self, pgconn: Any) -> None:
        self._pgconn = pgconn

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pgconn, name)

    def flush(self) -> int:
        raise psycopg.OperationalError("flushing failed")


class TestServerThatHangsUp:
    async def test_on_an_idle_connection_is_noticed_before_the_loop_tells(
        self, connection: Connection
    ) -> None:
        pid = await backend(connection)
        assert connection.is_alive

        with psycopg.connect(**connector.connection_parameters()) as blocking:
            blocking.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

        assert not connection.is_alive
        assert connection.closed
        assert not connection.is_idle
        with pytest.raises(psycopg.OperationalError):
            await connection.fetch(LENGTH, ["x"])

    async def test_in_the_middle_of_a_result_is_an_error(
        self, connection: Connection, observer: Any
    ) -> None:
        pid = await backend(connection)
        endless = b"SELECT repeat('x', 10000) FROM generate_series(1, 100000)"
        task = asyncio.create_task(connection.fetch(endless))
        await until_active(connection)

        await observer.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

        with pytest.raises(psycopg.OperationalError):
            await task
        assert connection.closed

    async def test_is_noticed_in_sending(self, connection: Connection) -> None:
        connection.pgconn = Proxy(connection.pgconn)  # type: ignore[assignment]

        with pytest.raises(psycopg.OperationalError, match="flushing failed"):
            await connection.fetch(LENGTH, ["x"])

        assert connection.closed

    async def test_is_noticed_in_sending_the_rest(self, connection: Connection) -> None:
        await connection.fetch(LENGTH, ["x"])
        with stopped(await backend(connection)):
            task = asyncio.create_task(connection.fetch(LENGTH, ["x" * 3_000_000]))
            await until_active(connection)
            connection.pgconn = Proxy(connection.pgconn)  # type: ignore[assignment]

        with pytest.raises(psycopg.OperationalError, match="flushing failed"):
            await task
        assert connection.closed

    @pytest.mark.parametrize("length", [1, 50_000, 3_000_000])
    @pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
    def test_before_it_has_read_the_statement_keeps_nobody_waiting(
        self, pool: None, new_loop: Callable[[], asyncio.AbstractEventLoop], length: int
    ) -> None:
        async def lose_the_server() -> None:
            connection = await connect()
            await connection.fetch(LENGTH, ["x"])
            pid = await backend(connection)
            with stopped(pid):
                task = asyncio.create_task(connection.fetch(LENGTH, ["x" * length]))
                await until_active(connection)
                os.kill(pid, signal.SIGTERM)
            async with asyncio.timeout(PATIENCE):
                with pytest.raises(psycopg.OperationalError):
                    await task
            assert connection.closed

        with asyncio.Runner(loop_factory=new_loop) as runner:
            for _ in range(4):
                runner.run(lose_the_server())


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
