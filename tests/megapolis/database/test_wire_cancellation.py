"""Statements whose caller is cancelled, and the connection that they leave behind."""

import asyncio
from typing import Any

import pytest
from psycopg.errors import QueryCanceled

from megapolis.database import wire
from megapolis.database.pipeline import State
from megapolis.database.wire import Connection
from tests.megapolis.database.connections import (
    LENGTH,
    SLEEP,
    backend,
    connect,
    stopped,
    until_active,
    until_asleep,
)
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("nothing_unhandled")


class TestCancellation:
    @pytest.mark.parametrize("argument", ["x", "x" * 1_000_000], ids=["small", "large"])
    @pytest.mark.parametrize("is_read", [False, True])
    async def test_at_any_moment_leaves_a_usable_connection_or_a_closed_one(
        self, connection: Connection, argument: str, *, is_read: bool
    ) -> None:
        for steps in range(40):
            sql = LENGTH + b" -- %d" % steps  # prepared, then executed
            task = asyncio.create_task(connection.fetch(sql, [argument], is_read=is_read))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            if connection.state is not State.OPEN:
                connection = await connect()

            assert await connection.fetch(sql, ["four"], is_read=is_read) == [(4,)]
        connection.disconnect()

    async def test_stops_the_statement_on_the_server_and_closes_the_connection(
        self, connection: Connection, observer: Any
    ) -> None:
        pid = await backend(connection)
        task = asyncio.create_task(connection.fetch(SLEEP))
        await until_asleep(observer, pid)

        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task
        await eventually(lambda: connection.closed)
        state = await observer.execute("SELECT state FROM pg_stat_activity WHERE pid = %s", [pid])
        assert await state.fetchall() in ([], [("idle",)])

    async def test_lets_a_statement_end_that_ends_soon(self, connection: Connection) -> None:
        task = asyncio.create_task(connection.fetch(LENGTH, ["x"]))
        await asyncio.sleep(0)

        task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(wire.CANCEL_AFTER * 2)

        assert connection.state is State.OPEN
        assert await connection.fetch(LENGTH, ["four"]) == [(4,)]

    @pytest.mark.parametrize("is_read", [False, True])
    async def test_costs_no_other_statement_its_response(
        self, connection: Connection, observer: Any, *, is_read: bool
    ) -> None:
        pid = await backend(connection)
        slow = asyncio.create_task(connection.fetch(SLEEP, is_read=True))
        later = asyncio.create_task(connection.fetch(LENGTH, ["four"], is_read=is_read))
        await until_asleep(observer, pid)

        slow.cancel()
        await asyncio.wait([slow, later])

        assert later.result() == [(4,)]

    async def test_of_one_that_waits_for_its_turn_does_not_cancel_the_one_that_runs(
        self, connection: Connection, observer: Any
    ) -> None:
        pid = await backend(connection)
        await observer.execute("SELECT pg_advisory_lock(1)")
        first = asyncio.create_task(connection.fetch(b"SELECT pg_advisory_lock(1)::text"))
        await until_asleep(observer, pid, "advisory")
        second = asyncio.create_task(connection.fetch(SLEEP))
        await asyncio.sleep(0)

        second.cancel()
        await asyncio.wait([second])
        await asyncio.sleep(wire.CANCEL_AFTER * 2)
        assert not first.done()
        await observer.execute("SELECT pg_advisory_unlock(1)")

        assert await first == [("",)]
        await eventually(lambda: connection.closed)  # The second one ran then, and was cancelled.

    @pytest.mark.parametrize("argument", ["x", "x" * 1_000_000], ids=["small", "large"])
    async def test_closes_the_connection_if_the_server_does_not_react(
        self, connection: Connection, monkeypatch: pytest.MonkeyPatch, argument: str
    ) -> None:
        monkeypatch.setattr(wire, "CANCEL_TIMEOUT", 0.01)
        with stopped(await backend(connection)):
            task = asyncio.create_task(connection.fetch(LENGTH, [argument]))
            await until_active(connection)

            task.cancel()

            with pytest.raises(asyncio.CancelledError):
                await task
            await eventually(lambda: connection.closed)

    async def test_by_the_server_is_an_error(self, connection: Connection, observer: Any) -> None:
        pid = await backend(connection)
        task = asyncio.create_task(connection.fetch(SLEEP))
        await until_asleep(observer, pid)

        await observer.execute("SELECT pg_cancel_backend(%s)", [pid])

        with pytest.raises(QueryCanceled):
            await task
        assert connection.is_idle
        assert connection.state is State.OPEN
