"""The responses of a pipeline, cut off or delayed at every byte."""

import asyncio
import select
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
import pytest

from megapolis.database import connection as factory
from megapolis.database.wire import Connection
from tests.megapolis.database.connections import LENGTH, until_closed

pytestmark = pytest.mark.usefixtures("nothing_unhandled")

STATEMENTS = 6


class Relay(threading.Thread):
    """Passes the bytes of one connection at a time on to PostgreSQL and back, and counts these."""

    def __init__(self, listener: socket.socket, server: str) -> None:
        super().__init__(daemon=True)
        self._listener = listener
        self._server = server
        self.passed = 0
        self.is_over = False
        self.limit: int | None = None
        """So many bytes of responses are passed on, then both sides are disconnected."""
        self.piece: int | None = None
        """Responses are passed on in pieces of so many bytes, each of which is sent alone."""

    def run(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # The test is over.
            with client, socket.socket(socket.AF_UNIX) as server, suppress(OSError):
                server.connect(self._server)
                while self.passed != self.limit and self._pass_on(client, server):
                    pass

    def _pass_on(self, client: socket.socket, server: socket.socket) -> bool:
        """Pass on what has come. Return False when one side has disconnected."""
        for ready in select.select([client, server], [], [], 0.1)[0]:
            data = ready.recv(65536)
            if ready is client:
                server.sendall(data)
            else:
                data = data if self.limit is None else data[: self.limit - self.passed]
                self.passed += len(data)  # before the client has them
                step = self.piece or len(data) or 1
                for start in range(0, len(data), step):
                    client.sendall(data[start : start + step])
            if not data:
                return False
        return not self.is_over


@pytest.fixture
async def relay(pool: None) -> AsyncIterator[tuple[Relay, dict[str, Any]]]:
    """A relay, and the parameters of a connection that goes through it."""
    parameters = factory.connection_parameters()
    with TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/.s.PGSQL.5432")
        listener.listen()
        relay = Relay(listener, f"{parameters['host']}/.s.PGSQL.5432")
        relay.start()
        parameters.pop("requirepeer", None)
        yield relay, parameters | {"host": folder}
        relay.is_over = True
        listener.shutdown(socket.SHUT_RDWR)
        relay.join()


async def connect(relay: Relay, parameters: dict[str, Any]) -> Connection:
    relay.limit = relay.piece = None
    connection = await Connection.connect(**parameters)
    connection.listen()
    for is_read in (False, True):
        await connection.fetch(LENGTH, [""], is_read=is_read)
    relay.passed = 0
    return connection


async def ask(connection: Connection) -> list[Any]:
    """Send reads and writes in turns, the lengths of whose arguments tell them apart."""
    async with asyncio.timeout(5):
        return await asyncio.gather(
            *(
                connection.fetch(LENGTH, ["x" * number], is_read=number % 3 > 0)
                for number in range(STATEMENTS)
            ),
            return_exceptions=True,
        )


async def test_a_lost_connection_gives_each_caller_its_own_rows_or_an_error(relay: Any) -> None:
    through, parameters = relay
    connection = await connect(through, parameters)
    assert await ask(connection) == [[(number,)] for number in range(STATEMENTS)]
    total = through.passed
    connection.disconnect()
    served: set[int] = set()

    for limit in range(total):
        connection = await connect(through, parameters)
        through.limit = limit
        found = await ask(connection)
        for number, rows in enumerate(found):
            assert rows == [(number,)] or isinstance(rows, psycopg.OperationalError), limit
        served.add(sum(rows == [(number,)] for number, rows in enumerate(found)))
        await until_closed(connection)

    assert served == set(range(STATEMENTS))


@pytest.mark.parametrize("piece", [1, 2, 3, 5, 7, 11, 64])
async def test_a_delay_at_any_byte_mixes_nobody_up(relay: Any, piece: int) -> None:
    through, parameters = relay
    connection = await connect(through, parameters)
    through.piece = piece

    for _ in range(3):
        assert await ask(connection) == [[(number,)] for number in range(STATEMENTS)]
    connection.disconnect()
