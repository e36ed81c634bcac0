"""Clients that are slow to send or to read, and a server that stops, over real sockets."""

import asyncio
from typing import Any

import pytest

from megapolis import limits, shutdown
from tests.megapolis import stock_urls
from tests.megapolis.conftest import Connect
from tests.megapolis.heads import GET, POST, WAIT
from tests.waiting import eventually


@pytest.mark.usefixtures("impatient")
class TestSlowClient:
    @pytest.mark.parametrize(
        "data",
        [b"", b"\r\n", b"GET /a", GET, GET + b"X: y", POST + b"Content-Length: 5\r\n\r\na"],
        ids=["silent", "an empty line", "line", "head", "header", "body"],
    )
    async def test_is_cut_with_nothing_written(self, connect: Connect, data: bytes) -> None:
        client = await connect()
        client.writer.write(data)

        assert await client.reader.read() == b""

    async def test_is_cut_who_goes_on_a_little_at_a_time(self, connect: Connect) -> None:
        client = await connect()
        client.writer.write(GET)

        async def trickle() -> None:
            while True:
                client.writer.write(b"X: y\r\n")
                await client.writer.drain()
                await asyncio.sleep(0.01)

        with pytest.raises(ConnectionError):
            await asyncio.wait_for(trickle(), 10)

    async def test_has_its_time_for_each_request(
        self, connect: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(limits, "RECEIVE_TIMEOUT", 1.0)
        client = await connect()
        for _ in range(4):
            client.writer.write(GET)
            await asyncio.sleep(0.3)
            client.writer.write(b"\r\n")
            assert (await client.answer()).status == 200

    async def test_has_its_time_from_when_earlier_requests_were_answered(
        self, connect: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Until then nobody reads what it sends."""
        monkeypatch.setattr(stock_urls, "WAITS", 0.6)
        monkeypatch.setattr(limits, "RECEIVE_TIMEOUT", 1.1)
        client = await connect()
        client.writer.write(WAIT * 2 + GET)
        for _ in range(2):
            assert (await client.answer()).body == b"waited"
        client.writer.write(b"\r\n")

        assert (await client.answer()).status == 200

    async def test_has_its_time_for_each_of_many_requests_in_parts(
        self, connect: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(limits, "RECEIVE_TIMEOUT", 1.0)
        client = await connect()
        client.writer.write(GET)
        for _ in range(4):
            await asyncio.sleep(0.3)
            client.writer.write(b"\r\n" + GET)
            assert (await client.answer()).status == 200

    async def test_is_left_its_idle_connection(self, connect: Connect) -> None:
        client = await connect()
        client.writer.write(GET + b"\r\n")
        await client.answer()
        await asyncio.sleep(2 * limits.RECEIVE_TIMEOUT)
        client.writer.write(GET + b"\r\n")

        assert (await client.answer()).status == 200

    async def test_does_not_keep_an_idle_connection_with_an_empty_line(
        self, connect: Connect
    ) -> None:
        client = await connect()
        client.writer.write(GET + b"\r\n")
        assert (await client.answer()).status == 200
        client.writer.write(b"\r\n")

        assert await client.is_closed()

    async def test_is_cut_who_does_not_read(
        self, connect: Connect, server: Any, log: list[str]
    ) -> None:
        client = await connect()
        client.writer.transport.pause_reading()
        client.writer.write((b"GET /large HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n") * 200)

        await eventually(lambda: server.server_state.connections)
        await eventually(lambda: not server.server_state.connections)
        await eventually(lambda: not server.server_state.tasks)
        assert not [line for line in log if "Traceback" in line]


class TestStopping:
    async def test_closes_connections_after_their_next_answer(
        self, connect: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client = await connect()
        monkeypatch.setattr(shutdown, "_has_begun", True)
        client.writer.write(GET + b"\r\n")

        assert (await client.answer()).headers["connection"] == "close"
        assert await client.is_closed()

    async def test_closes_idle_and_half_sent_at_once_with_nothing_written(
        self, connect: Connect, server: Any
    ) -> None:
        idle, silent, head, body = [await connect() for _ in range(4)]
        idle.writer.write(GET + b"\r\n")
        await idle.answer()
        head.writer.write(GET)
        body.writer.write(POST + b"Content-Length: 5\r\n\r\na")
        await eventually(lambda: server.server_state.tasks)

        for connection in list(server.server_state.connections):
            connection.shutdown()

        for client in (idle, silent, head, body):
            assert await client.reader.read() == b""

    async def test_answers_what_is_in_flight_before_one_that_is_half_sent(
        self, connect: Connect, server: Any
    ) -> None:
        client = await connect()
        client.writer.write(WAIT + POST + b"Content-Length: 5\r\n\r\na")
        await eventually(lambda: server.server_state.tasks)

        for connection in list(server.server_state.connections):
            connection.shutdown()

        answer = await client.answer()
        assert (answer.body, answer.headers["connection"]) == (b"waited", "close")
        assert await client.is_closed()

    async def test_does_not_begin_with_a_request_that_it_cannot_answer(
        self,
        connect: Connect,
        server: Any,
        monkeypatch: pytest.MonkeyPatch,
        log: list[str],
    ) -> None:
        client = await connect()
        monkeypatch.setattr(shutdown, "_has_begun", True)
        client.writer.write(WAIT + POST + b"Content-Length: 1000000000\r\n\r\na")

        assert (await client.answer()).headers["connection"] == "close"
        assert await client.is_closed()
        await eventually(lambda: not server.server_state.tasks)
        assert not [line for line in log if "Traceback" in line]

    async def test_lets_a_request_in_flight_finish(self, connect: Connect, server: Any) -> None:
        client = await connect()
        client.writer.write(b"GET /wait HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        await eventually(lambda: server.server_state.tasks)

        for connection in list(server.server_state.connections):
            connection.shutdown()

        assert (await client.answer()).status == 200
        assert await client.is_closed()
