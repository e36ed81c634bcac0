"""The rows that a connection yields and the arguments that it takes: as with psycopg's cursors."""

import asyncio
import datetime as dt
from decimal import Decimal
from ipaddress import ip_address, ip_network
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb
from psycopg.types.range import Range

from megapolis.database.wire import Connection
from tests.megapolis.database.connections import LENGTH

pytestmark = pytest.mark.usefixtures("nothing_unhandled")

UTC = dt.UTC


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

        assert connection._plans[LENGTH]._transformer.pgresult is None

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
