"""What a client is told of whose request nobody can work on, over real sockets."""

import asyncio
from typing import Any

import pytest

from megapolis import asgi
from megapolis.environment import limits
from megapolis.http import health, load_shedding
from megapolis.server import closing_protocol
from megapolis.settings import API_HEADERS
from tests.megapolis.conftest import Connect
from tests.megapolis.server.raw_client import rejected
from tests.megapolis.server.raw_requests import AMBIGUOUS, CHUNKED, GET, POST
from tests.waiting import eventually


class TestOverload:
    @pytest.fixture(autouse=True)
    def full(self, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """The protocol takes nothing in, and the application all that still gets there."""
        monkeypatch.setattr(load_shedding.api, "limit", 0)
        monkeypatch.setattr(load_shedding.api, "rejected", 0)  # and what it was afterwards

    @pytest.mark.parametrize(
        "data",
        [
            GET + b"\r\n",
            POST + b"Content-Length: 5\r\n\r\nabcde",
            CHUNKED + b"5\r\nabcde\r\n0\r\n\r\n",
        ],
        ids=["without a body", "with a body", "in chunks"],
    )
    async def test_is_told_without_a_task_and_on_a_connection_that_stays(
        self, connect: Connect, server: Any, monkeypatch: pytest.MonkeyPatch, data: bytes
    ) -> None:
        client = await connect()
        for _ in range(3):
            client.writer.write(data)
            answer = await client.answer()
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert "connection" not in answer.headers
            assert API_HEADERS["X-Content-Type-Options"] == answer.headers["x-content-type-options"]
        assert server.server_state.total_requests == 3
        assert not server.server_state.tasks

        monkeypatch.setattr(load_shedding.api, "limit", 1)
        client.writer.write(GET + b"\r\n")
        assert (await client.answer()).status == 200

    async def test_is_told_before_the_body_is_there(self, connect: Connect) -> None:
        client = await connect()
        client.writer.write(POST + b"Content-Length: 5\r\n\r\n")
        assert (await client.answer()).status == 503

        client.writer.write(b"abcde" + GET + b"\r\n")
        assert (await client.answer()).status == 503

    async def test_is_told_to_each_of_many_at_once(self, connect: Connect) -> None:
        client = await connect()
        client.writer.write((GET + b"\r\n") * 3)

        assert [(await client.answer()).status for _ in range(3)] == [503] * 3

    async def test_is_not_told_to_a_client_that_does_not_read(
        self, connect: Connect, server: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(closing_protocol, "REJECTED_PAUSE", 0)
        client = await connect()
        client.writer.transport.pause_reading()
        client.writer.write((GET + b"\r\n") * 60_000)

        await eventually(lambda: server.server_state.connections)
        [connection] = server.server_state.connections
        await eventually(lambda: connection.pipeline, within=5)
        assert connection.transport.get_write_buffer_size() < 256 * 1024

    async def test_does_not_give_a_slow_client_more_time(
        self, connect: Connect, impatient: None
    ) -> None:
        client = await connect()
        client.writer.write(POST + b"Content-Length: 5\r\n\r\na")
        await client.answer()

        assert await client.reader.read() == b""

    @pytest.mark.parametrize("body", [b"", b"abcde"], ids=["without a body", "with a late body"])
    async def test_leaves_an_idle_connection_alone(
        self, connect: Connect, impatient: None, monkeypatch: pytest.MonkeyPatch, body: bytes
    ) -> None:
        monkeypatch.setattr(closing_protocol, "REJECTED_PAUSE", 0)
        client = await connect()
        client.writer.write(POST + b"Content-Length: %d\r\n\r\n" % len(body))
        await client.answer()
        client.writer.write(body)
        await asyncio.sleep(2 * limits.RECEIVE_TIMEOUT)
        client.writer.write(GET + b"\r\n")

        assert (await client.answer()).status == 503

    async def test_does_not_keep_an_idle_connection_with_an_empty_line(
        self, connect: Connect, impatient: None
    ) -> None:
        client = await connect()
        client.writer.write(GET + b"\r\n")
        assert (await client.answer()).status == 503
        client.writer.write(b"\r\n")

        assert await client.is_closed()

    async def test_does_not_keep_from_an_ambiguous_request_its_refusal(
        self, connect: Connect
    ) -> None:
        assert (await rejected(await connect(), AMBIGUOUS["two hosts"])).status == 400

    @pytest.mark.parametrize(
        "data",
        [
            GET.replace(b"GET", b"HEAD") + b"\r\n",
            GET + b"Connection: close\r\n\r\n",
            GET.replace(b"1.1", b"1.0") + b"\r\n",
            GET.replace(b"/async", b"/admin/") + b"\r\n",
            POST + b"Expect: 100-continue\r\nContent-Length: 0\r\n\r\n",
        ],
        ids=["HEAD", "the last", "HTTP/1.0", "of staff", "that waits to be asked on"],
    )
    async def test_leaves_unusual_requests_to_the_application(
        self, connect: Connect, data: bytes
    ) -> None:
        client = await connect()
        client.writer.write(data)

        assert (await client.reader.readline()).split()[1] in {b"200", b"404", b"100"}

    def test_concerns_one_door_only(self) -> None:
        assert {path.encode() for path in health.PATHS} < set(closing_protocol.NOT_API)
        others = set(closing_protocol.NOT_API) - {path.encode() for path in health.PATHS}
        assert others == {path.rstrip("/").encode() for path in asgi.ADMIN_PATHS}
