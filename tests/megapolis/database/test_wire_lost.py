"""A server that hangs up, whatever the connection is about just then."""

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
import uvloop

from megapolis.database.connection import connection_parameters
from megapolis.database.wire import Connection
from tests.megapolis.database.connections import LENGTH, backend, connect, stopped, until_active
from tests.waiting import TIMEOUT

pytestmark = pytest.mark.usefixtures("nothing_unhandled")


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
        assert connection.is_alive()

        with psycopg.connect(**connection_parameters()) as blocking:
            blocking.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

        assert not connection.is_alive()
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
        await connection.fetch(LENGTH, ["x"])
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
            async with asyncio.timeout(TIMEOUT):
                with pytest.raises(psycopg.OperationalError):
                    await task
            assert connection.closed

        with asyncio.Runner(loop_factory=new_loop) as runner:
            for _ in range(4):
                runner.run(lose_the_server())
