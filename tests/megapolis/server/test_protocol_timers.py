"""Clients that are slow to send or to read, and a server that stops, over real sockets."""

import asyncio
import os
from typing import Any

import pytest

from megapolis.environment import limits
from megapolis.server import shutdown
from tests.megapolis import stock_urls
from tests.megapolis.conftest import Connect
from tests.megapolis.server.raw_requests import CHUNKED, GET, POST, WAIT
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


def stop(server: Any) -> None:
    """Tell the connections to stop, as uvicorn does."""
    for connection in list(server.server_state.connections):
        connection.shutdown()


def is_receiving(server: Any) -> bool:
    return any(connection._is_receiving for connection in server.server_state.connections)


class TestStopping:
    @pytest.fixture
    def stopping(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(shutdown, "_has_begun", True)

    @pytest.fixture
    def short_of_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "SHUTDOWN_TIMEOUT", limits.ANSWER_TIMEOUT + 0.05)

    async def test_closes_connections_after_their_next_answer(
        self, connect: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client = await connect()
        monkeypatch.setattr(shutdown, "_has_begun", True)
        client.writer.write(GET + b"\r\n")

        assert (await client.answer()).headers["connection"] == "close"
        assert await client.is_closed()

    async def test_closes_idle_connections_immediately(self, connect: Connect, server: Any) -> None:
        client = await connect()
        client.writer.write(GET + b"\r\n")
        await client.answer()

        stop(server)

        assert await client.reader.read() == b""

    async def test_serves_a_request_that_has_come_but_was_not_read_yet(
        self, connect: Connect, server: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client = await connect()
        client.writer.write(GET + b"\r\n")
        await client.answer()
        monkeypatch.setattr(shutdown, "_has_begun", True)
        os.write(client.writer.get_extra_info("socket").fileno(), GET + b"\r\n")
        stop(server)

        assert (await client.answer()).headers["connection"] == "close"
        assert await client.is_closed()

    async def test_serves_a_connection_that_was_just_accepted(
        self, connect: Connect, server: Any, stopping: None
    ) -> None:
        client = await connect()
        await eventually(lambda: server.server_state.connections)
        stop(server)
        await asyncio.sleep(0)
        client.writer.write(GET + b"\r\n")

        assert (await client.answer()).headers["connection"] == "close"
        assert await client.is_closed()

    @pytest.mark.parametrize(
        ("first", "rest"),
        [
            (GET, b"\r\n"),
            (GET[:9], GET[9:] + b"\r\n"),
            (POST + b"Content-Length: 5\r\n\r\n", b"abcde"),
            (POST + b"Content-Length: 5\r\n\r\na", b"bcde"),
            (CHUNKED + b"5\r\nab", b"cde\r\n0\r\n\r\n"),
        ],
        ids=["headers", "first line", "no body", "part of a body", "part of a chunk"],
    )
    async def test_serves_a_request_that_is_completed_in_time(
        self, connect: Connect, server: Any, stopping: None, first: bytes, rest: bytes
    ) -> None:
        client = await connect()
        client.writer.write(first)
        await eventually(lambda: is_receiving(server))
        stop(server)
        client.writer.write(rest)

        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert await client.is_closed()

    @pytest.mark.parametrize(
        "data",
        [GET, POST + b"Content-Length: 5\r\n\r\na", CHUNKED + b"5\r\nab"],
        ids=["headers", "body", "chunk"],
    )
    async def test_rejects_a_request_that_is_not_completed_in_time(
        self,
        connect: Connect,
        server: Any,
        stopping: None,
        short_of_time: None,
        data: bytes,
    ) -> None:
        client = await connect()
        client.writer.write(data)
        await eventually(lambda: is_receiving(server))
        stop(server)

        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (503, "close")
        assert answer.headers["retry-after"] == "1"
        assert await client.is_closed()

    async def test_closes_a_connection_on_which_no_request_comes(
        self, connect: Connect, server: Any, stopping: None, short_of_time: None
    ) -> None:
        client = await connect()
        await eventually(lambda: server.server_state.connections)
        stop(server)

        assert await client.reader.read() == b""

    async def test_answers_what_is_in_flight_before_one_that_is_half_sent(
        self, connect: Connect, server: Any
    ) -> None:
        client = await connect()
        client.writer.write(WAIT + POST + b"Content-Length: 5\r\n\r\na")
        await eventually(lambda: server.server_state.tasks)

        stop(server)

        first = await client.answer()
        assert first.body == b"waited"
        client.writer.write(b"bcde")
        assert (await client.answer()).headers["connection"] == "close"
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

        stop(server)

        assert (await client.answer()).status == 200
        assert await client.is_closed()
