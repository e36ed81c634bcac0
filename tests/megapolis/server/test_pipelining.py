"""Requests that are sent before the responses to earlier ones: few wait, the others are unread."""

import asyncio
import json
from typing import Any

import pytest

from megapolis.environment import limits
from megapolis.http import load_shedding
from megapolis.http.prepared_response import prepared_problem
from megapolis.server import closing_protocol, shutdown
from megapolis.server.parsing_protocol import PART
from tests.megapolis import stock_urls
from tests.megapolis.conftest import Connect
from tests.megapolis.server.raw_requests import CHUNKED, GET, NEXT, POST, WAIT
from tests.megapolis.server.recording_transport import recorded
from tests.waiting import eventually

LIVEZ = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
KINDS = {
    "short": LIVEZ,
    "the shortest": b"GET / HTTP/1.1\r\nHost:a\r\n\r\n",
    "with a body": POST + b"Content-Length: 5\r\n\r\nabcde",
    "with a body that is long": POST + b"Content-Length: 9000\r\n\r\n" + b"a" * 9000,
    "in chunks": CHUNKED + b"5\r\nabcde\r\n0\r\nX: y\r\n\r\n",
    "with a large head": GET + b"X: " + b"a" * 20_000 + b"\r\n\r\n",
    "with many fields": GET + b"X: y\r\n" * 90 + b"\r\n",
    "with an offer to upgrade": GET + b"Connection: Upgrade\r\nUpgrade: foo\r\n\r\n",
    "for staff": GET.replace(b"/async", b"/admin/") + b"\r\n",
    "with empty lines between": LIVEZ + b"\r\n\r\n",
}
MANY = 2_000
FEW = PART // len(KINDS["the shortest"]) + 2


class Gate:
    """An application that begins to respond when it is opened, and says what it was asked."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        length, more = 0, True
        while more:
            message = await receive()
            length, more = length + len(message["body"]), message["more_body"]
        hanging_up = asyncio.create_task(receive())  # as the handler of the API does
        await self.opened.wait()
        hanging_up.cancel()
        await prepared_problem(200, f"{scope['path']} {length}")(send)


class TestWaitingRequests:
    @pytest.mark.parametrize("request_", KINDS.values(), ids=KINDS)
    async def test_are_few_and_all_get_their_response(self, request_: bytes) -> None:
        gate = Gate()
        protocol, transport = recorded(gate)
        protocol.data_received(request_ * MANY)
        await asyncio.sleep(0)

        assert len(protocol.pipeline) < FEW
        assert transport.is_paused
        gate.opened.set()
        await eventually(lambda: b"".join(transport.written).count(b"HTTP/1.1 200") == MANY)
        assert not protocol.pipeline
        assert not transport.is_paused
        assert isinstance(protocol._unparsed, bytes)  # no view of what was read
        protocol.connection_lost(None)

    async def test_are_as_few_while_the_application_listens_for_a_disconnect(self) -> None:
        """It asks for more, which uvicorn takes for a reason to read on."""
        gate = Gate()
        protocol, transport = recorded(gate)
        for _ in range(10):
            protocol.data_received(LIVEZ * MANY)
            await asyncio.sleep(0.01)
            assert transport.is_paused
            assert len(protocol.pipeline) < FEW
        protocol.connection_lost(None)
        gate.opened.set()
        await eventually(lambda: not protocol.tasks)

    async def test_get_their_responses_in_order(self, connect: Connect) -> None:
        client = await connect()
        for depth in (16, 64, 1_000):
            numbers = [str(number) for number in range(depth)]
            posts = [
                (POST.replace(b"/async", b"/async?n=%b") + b"Content-Length: %d\r\n\r\n%b")
                % (number.encode(), number_length, b"a" * number_length)
                for number, number_length in ((n, int(n) % 100) for n in numbers)
            ]
            client.writer.write(b"".join(posts))
            for number in numbers:
                answer = await client.answer()
                expected = f"POST {{'n': '{number}'}} {b'a' * (int(number) % 100)!r}"
                assert answer.body.decode() == expected

    async def test_do_not_keep_other_clients_waiting(self, connect: Connect, server: Any) -> None:
        crowd = [await connect() for _ in range(20)]
        for client in crowd:
            client.writer.transport.pause_reading()
            client.writer.write((GET + b"\r\n") * MANY)
        await eventually(lambda: server.server_state.tasks)

        other = await connect()
        for _ in range(3):
            other.writer.write(GET + b"\r\n")
            async with asyncio.timeout(2):
                assert (await other.answer()).status == 200
        assert all(len(each.pipeline) < FEW for each in server.server_state.connections)

    async def test_are_forgotten_with_their_client(self, connect: Connect, server: Any) -> None:
        client = await connect()
        client.writer.write(WAIT * MANY)
        await eventually(lambda: server.server_state.tasks)
        client.writer.transport.abort()

        await eventually(lambda: not server.server_state.connections)
        await eventually(lambda: not server.server_state.tasks)

    async def test_end_with_the_one_that_is_malformed(self, connect: Connect) -> None:
        client = await connect()
        client.writer.write(
            GET + b"\r\n" + (GET + b"\r\n") * 99 + b"NONSENSE\r\n\r\n" + NEXT * MANY
        )
        answers = [await client.answer() for _ in range(100)]
        if answers[-1].headers.get("connection") != "close":
            answers.append(await client.answer())

        assert [answer.status for answer in answers[:100]] == [200] * 100
        assert [answer.status for answer in answers[100:]] in ([], [400])
        assert await client.is_closed()

    async def test_end_with_the_last_whose_response_is_not_lost(self, connect: Connect) -> None:
        """A connection that is closed with something unread is reset."""
        client = await connect()
        last = GET.replace(b"/async", b"/large") + b"Connection: close\r\n\r\n"
        client.writer.write(WAIT * 2 + last + NEXT * MANY)

        assert [(await client.answer()).body for _ in range(2)] == [b"waited"] * 2
        answer = await client.answer()
        assert (len(answer.body), answer.headers["connection"]) == (200_000, "close")
        assert await client.is_closed()

    async def test_end_with_the_next_response_when_the_service_stops(
        self, connect: Connect, server: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(stock_urls, "WAITS", 0.02)
        client = await connect()
        client.writer.write(WAIT * MANY)
        await eventually(lambda: server.server_state.tasks)
        monkeypatch.setattr(shutdown, "_has_begun", True)
        for connection in list(server.server_state.connections):
            connection.shutdown()

        answers = [await client.answer()]
        while answers[-1].headers.get("connection") != "close":
            answers.append(await client.answer())
        assert len(answers) < FEW
        assert await client.is_closed()


@pytest.mark.usefixtures("impatient")
class TestTime:
    async def test_does_not_run_while_a_request_has_to_wait(self, connect: Connect) -> None:
        """`/wait` takes two thirds of the time that a request has to arrive."""
        client = await connect()
        rest = GET + b"X: " + b"a" * 3 * PART + b"\r\n\r\n"
        client.writer.write(WAIT * 8 + rest)

        assert [(await client.answer()).body for _ in range(8)] == [b"waited"] * 8
        assert (await client.answer()).status == 200

    async def test_runs_for_the_one_that_is_incomplete(self, connect: Connect) -> None:
        client = await connect()
        client.writer.write(WAIT * 8 + GET)

        assert [(await client.answer()).body for _ in range(8)] == [b"waited"] * 8
        assert await client.is_closed()

    async def test_of_an_idle_connection_runs_as_ever(self, connect: Connect) -> None:
        client = await connect()
        client.writer.write((GET + b"\r\n") * 100)
        assert [(await client.answer()).status for _ in range(100)] == [200] * 100
        await asyncio.sleep(2 * limits.RECEIVE_TIMEOUT)
        client.writer.write(GET + b"\r\n")

        assert (await client.answer()).status == 200


class TestShedRequests:
    @pytest.fixture(autouse=True)
    def full(self, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(load_shedding.api, "limit", 0)
        monkeypatch.setattr(load_shedding.api, "rejected", 0)

    async def test_are_heard_no_faster_if_they_come_at_once(
        self, connect: Connect, server: Any
    ) -> None:
        client = await connect()
        client.writer.write((GET + b"\r\n") * MANY)
        assert (await client.answer()).status == 503

        shed = server.server_state.total_requests
        assert shed <= 2 * PART / len(GET) + 2

    async def test_are_all_told(self, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(closing_protocol, "REJECTED_PAUSE", 0.001)
        client = await connect()
        post = POST + b"Content-Length: 5\r\n\r\nabcde"
        client.writer.write((GET + b"\r\n" + post + CHUNKED + b"5\r\nabcde\r\n0\r\n\r\n") * 100)
        answers = [await client.answer() for _ in range(300)]

        assert [answer.status for answer in answers] == [503] * 300
        assert json.loads(answers[-1].body)["status"] == 503
        monkeypatch.setattr(load_shedding.api, "limit", 1)
        client.writer.write(GET + b"\r\n")
        assert (await client.answer()).status == 200
