"""Statements that are given up, and the connection that they leave behind."""

import asyncio
from typing import Any

import psycopg
import pytest
from psycopg.errors import QueryCanceled

from megapolis import connection as module
from megapolis.connection import Connection
from tests.megapolis.connections import (
    LENGTH,
    SLEEP,
    backend,
    connect,
    stopped,
    until_active,
    until_asleep,
)

pytestmark = pytest.mark.usefixtures("nothing_unhandled")


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
