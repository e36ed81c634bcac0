"""HTTP as a hostile or a slow client speaks it, over real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from megapolis import admission, asgi, health, limits, refusing_protocol, shutdown
from megapolis.admission import Admission
from megapolis.plain import plain_problem
from megapolis.settings import API_HEADERS
from tests.megapolis.sockets import Answer, Client, served
from tests.waiting import eventually

GET = b"GET /async HTTP/1.1\r\nHost: 127.0.0.1\r\n"
POST = b"POST /async HTTP/1.1\r\nHost: 127.0.0.1\r\n"
WAIT = GET.replace(b"/async", b"/wait") + b"\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
NEXT = b"GET /smuggled HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

AMBIGUOUS = {
    "two kinds of length": POST
    + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 0\r\nContent-Length: 5\r\n\r\n",
    "one length twice": POST + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
    "a list of lengths": POST + b"Content-Length: 0, 0\r\n\r\n",
    "a length with a sign": POST + b"Content-Length: +0\r\n\r\n",
    "a negative length": POST + b"Content-Length: -1\r\n\r\n",
    "a hexadecimal length": POST + b"Content-Length: 0x0\r\n\r\n",
    "no length in its header": POST + b"Content-Length: \r\n\r\n",
    "a space before the colon": POST + b"Content-Length : 0\r\n\r\n",
    "an unknown coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a coding after chunked": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "a coding before chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "two codings": POST + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n0\r\n\r\n",
    "chunks in HTTP/1.0": CHUNKED.replace(b"1.1", b"1.0") + b"0\r\n\r\n",
    "a chunk's size and a space": CHUNKED + b"1 \r\na\r\n0\r\n\r\n",
    "a chunk's size with a prefix": CHUNKED + b"0x1\r\na\r\n0\r\n\r\n",
    "a negative chunk": CHUNKED + b"-1\r\na\r\n0\r\n\r\n",
    "a chunk beyond 64 bits": CHUNKED + b"f" * 17 + b"\r\na\r\n0\r\n\r\n",
    "a chunk's size that ends in LF": CHUNKED + b"1\na\r\n0\r\n\r\n",
    "a chunk longer than its size": CHUNKED + b"1\r\nabc\r\n0\r\n\r\n",
    "LF in a chunk's extension": CHUNKED + b"1;a\nb\r\na\r\n0\r\n\r\n",
    "lines that end in LF": b"GET /async HTTP/1.1\nHost: 127.0.0.1\n\n",
    "a header that ends in LF": GET + b"X: a\nY: b\r\n\r\n",
    "CR in a header": GET + b"X: a\rb\r\n\r\n",
    "NUL in a header": GET + b"X: a\0b\r\n\r\n",
    "NUL in the path": b"GET /a\0b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "a folded header": GET + b"X: a\r\n b\r\n\r\n",
    "a header without a colon": GET + b"X\r\n\r\n",
    "a header without a name": GET + b": a\r\n\r\n",
    "bytes beyond ASCII in the path": b"GET /\xc3\xa9 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "no host": b"GET /async HTTP/1.1\r\n\r\n",
    "two hosts": GET + b"Host: 127.0.0.1\r\n\r\n",
    "a URL of another host": GET.replace(b"/async", b"http://evil.example/async") + b"\r\n",
    "a URL of a longer host": GET.replace(b"/async", b"http://127.0.0.1.evil/async") + b"\r\n",
    "HTTP/0.9": b"GET /async\r\n\r\n",
    "HTTP/1.2": GET.replace(b"1.1", b"1.2") + b"\r\n",
    "HTTP/2.0": GET.replace(b"1.1", b"2.0") + b"\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a tunnel": b"CONNECT evil.example:80 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
}
LARGE = {
    "many headers": GET + b"".join(b"X-%d: y\r\n" % number for number in range(20_000)) + b"\r\n",
    "a large header": GET + b"X: " + b"a" * 1_000_000 + b"\r\n\r\n",
    "a large header without an end": GET + b"X: " + b"a" * 1_000_000,
    "a long URL": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "one header too many": GET + b"X: y\r\n" * limits.HEAD_MAX_FIELDS + b"\r\n",
}

type Connect = Callable[[], Any]


@pytest.fixture
async def server(door: Any, db: None) -> AsyncIterator[uvicorn.Server]:
    """The door, served as `manage.py run` does."""
    door.admission = Admission(limits.IN_FLIGHT, name="of a test")
    async with served(door) as server:
        yield server


@pytest.fixture
async def connect(server: Any) -> AsyncIterator[Connect]:
    """`await connect()` returns a new connection."""
    writers = []

    async def make() -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writers.append(writer)
        return Client(reader, writer)

    yield make
    for writer in writers:
        writer.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RECEIVE_TIMEOUT", 0.1)
    monkeypatch.setattr(limits, "SEND_TIMEOUT", 0.1)


async def refused(client: Client, data: bytes) -> Answer:
    """Send it with another request behind; returns the only answer, after which all is over."""
    client.writer.write(data + NEXT)
    answer = await client.answer()
    assert answer.headers["connection"] == "close"
    assert await client.is_closed()
    return answer


class TestAmbiguousRequest:
    @pytest.mark.parametrize("data", AMBIGUOUS.values(), ids=AMBIGUOUS)
    async def test_is_refused_with_one_answer_and_a_closed_connection(
        self, connect: Connect, data: bytes
    ) -> None:
        answer = await refused(await connect(), data)

        assert answer.status == 400
        assert answer.headers["content-type"] == "application/problem+json"
        assert json.loads(answer.body)["status"] == 400
        lower = {name.lower(): value for name, value in API_HEADERS.items()}
        assert lower.items() <= answer.headers.items()
        assert "server" not in answer.headers

    async def test_does_not_spoil_the_answer_to_the_one_before(self, connect: Connect) -> None:
        client = await connect()
        client.writer.write(GET + b"\r\n" + b"NONSENSE\r\n\r\n")

        answer = await client.answer()

        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert await client.is_closed()

    @pytest.mark.parametrize(
        "data",
        [b"NONSENSE\r\n\r\n", CHUNKED + b"zz\r\n", CHUNKED + b"1\r\na\r\nzz\r\n"],
        ids=["in its line", "in its body", "late in its body"],
    )
    async def test_comes_after_the_answers_to_those_before(
        self, connect: Connect, log: list[str], data: bytes
    ) -> None:
        client = await connect()
        client.writer.write(WAIT + GET + b"\r\n" + data + NEXT)

        first, second = await client.answer(), await client.answer()

        assert (first.status, first.body) == (200, b"waited")
        assert (second.status, second.headers["connection"]) == (200, "close")
        assert await client.is_closed()
        assert not [line for line in log if "Traceback" in line]

    async def test_is_not_what_names_its_own_host_in_the_url(self, connect: Connect) -> None:
        client = await connect()
        client.writer.write(GET.replace(b"/async", b"http://127.0.0.1/async") + b"\r\n")

        assert (await client.answer()).status == 200


class TestLargeHead:
    @pytest.mark.parametrize("data", LARGE.values(), ids=LARGE)
    async def test_is_refused(self, connect: Connect, data: bytes) -> None:
        assert (await refused(await connect(), data)).status == 431

    async def test_is_not_what_follows_a_large_body(self, connect: Connect) -> None:
        client = await connect()
        body = b"a" * (limits.HEAD_MAX_BYTES * 2)
        client.writer.write(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body + GET + b"\r\n")

        assert [(await client.answer()).status for _ in range(2)] == [200, 200]

    async def test_may_have_as_many_fields_as_the_limit_says(self, connect: Connect) -> None:
        client = await connect()
        client.writer.write(GET + b"X: y\r\n" * (limits.HEAD_MAX_FIELDS - 1) + b"\r\n")

        assert (await client.answer()).status == 200

    async def test_is_not_many_that_come_at_once(self, connect: Connect) -> None:
        client = await connect()
        client.writer.write((GET + b"X: " + b"a" * 20_000 + b"\r\n\r\n") * 40)

        assert [(await client.answer()).status for _ in range(40)] == [200] * 40

    async def test_that_is_malformed_too_is_refused_once(
        self, connect: Connect, log: list[str]
    ) -> None:
        client = await connect()
        for data in (GET, b"X: y\r\n" * 10_000, b"X: y\r\n" * 2_000 + b"X: a\0b\r\n"):
            client.writer.write(data)
            await asyncio.sleep(0.05)

        assert (await client.answer()).status == 400
        assert await client.is_closed()
        assert not [line for line in log if "Traceback" in line]


class TestTrailer:
    async def test_is_refused_if_it_is_large(self, connect: Connect) -> None:
        trailer = b"5\r\nabcde\r\n0\r\nX: " + b"a" * 1_000_000

        assert (await refused(await connect(), CHUNKED + trailer)).status == 431

    async def test_is_not_taken_for_headers(self) -> None:
        async def application(scope: Any, receive: Any, send: Any) -> None:
            while (await receive())["more_body"]:
                pass
            await plain_problem(200, str([name.decode() for name, _ in scope["headers"]]))(send)

        async with served(application) as server:
            client = Client(*await asyncio.open_connection("127.0.0.1", server.port))
            client.writer.write(CHUNKED + b"5\r\nabcde\r\n0\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n")
            answer = await client.answer()
            client.writer.close()

        assert json.loads(answer.body)["detail"] == "['host', 'transfer-encoding']"


class TestLargeBody:
    async def test_is_told_to_a_client_that_sends_on(self, connect: Connect) -> None:
        client = await connect()
        client.writer.write(CHUNKED)
        for _ in range(64):
            client.writer.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
        await client.writer.drain()

        answer = await client.answer()

        assert (answer.status, answer.headers["connection"]) == (413, "close")
        assert await client.is_closed()


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

    async def test_has_its_time_for_each_request(self, connect: Connect) -> None:
        client = await connect()
        for _ in range(4):
            client.writer.write(GET)
            await asyncio.sleep(0.04)
            client.writer.write(b"\r\n")
            assert (await client.answer()).status == 200

    async def test_has_its_time_from_when_earlier_requests_were_answered(
        self, connect: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Until then nobody reads what it sends."""
        monkeypatch.setattr(limits, "RECEIVE_TIMEOUT", 0.3)
        client = await connect()
        client.writer.write(WAIT * 2 + GET)
        for _ in range(2):
            assert (await client.answer()).body == b"waited"
        client.writer.write(b"\r\n")

        assert (await client.answer()).status == 200

    async def test_has_its_time_for_each_of_many_requests_in_parts(
        self, connect: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(limits, "RECEIVE_TIMEOUT", 0.5)
        client = await connect()
        client.writer.write(GET)
        for _ in range(4):
            await asyncio.sleep(0.2)
            client.writer.write(b"\r\n" + GET)
            assert (await client.answer()).status == 200

    async def test_is_left_its_idle_connection(self, connect: Connect) -> None:
        client = await connect()
        client.writer.write(GET + b"\r\n")
        await client.answer()
        await asyncio.sleep(0.2)
        client.writer.write(GET + b"\r\n")

        assert (await client.answer()).status == 200

    async def test_does_not_keep_an_idle_connection_with_an_empty_line(
        self, connect: Connect
    ) -> None:
        client = await connect()
        client.writer.write(GET + b"\r\n")
        await client.answer()
        client.writer.write(b"\r\n")

        assert await client.is_closed()

    async def test_is_cut_who_does_not_read(
        self, connect: Connect, server: Any, log: list[str]
    ) -> None:
        client = await connect()
        client.writer.transport.pause_reading()
        client.writer.write((b"GET /large HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n") * 200)

        await eventually(lambda: not server.server_state.connections)
        await eventually(lambda: not server.server_state.tasks)
        assert not [line for line in log if "Traceback" in line]


class TestOverload:
    @pytest.fixture(autouse=True)
    def full(self, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """The protocol takes nothing in, and the application all that still gets there."""
        monkeypatch.setattr(admission.api, "limit", 0)
        monkeypatch.setattr(admission.api, "refused", 0)  # and what it was afterwards

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

        monkeypatch.setattr(admission.api, "limit", 1)
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
        self, connect: Connect, server: Any
    ) -> None:
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
        self, connect: Connect, impatient: None, body: bytes
    ) -> None:
        client = await connect()
        client.writer.write(POST + b"Content-Length: %d\r\n\r\n" % len(body))
        await client.answer()
        client.writer.write(body)
        await asyncio.sleep(0.2)
        client.writer.write(GET + b"\r\n")

        assert (await client.answer()).status == 503

    async def test_does_not_keep_an_idle_connection_with_an_empty_line(
        self, connect: Connect, impatient: None
    ) -> None:
        client = await connect()
        client.writer.write(GET + b"\r\n")
        await client.answer()
        client.writer.write(b"\r\n")

        assert await client.is_closed()

    async def test_does_not_keep_from_an_ambiguous_request_its_refusal(
        self, connect: Connect
    ) -> None:
        assert (await refused(await connect(), AMBIGUOUS["two hosts"])).status == 400

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
        assert {path.encode() for path in health.PATHS} < set(refusing_protocol.NOT_API)
        others = set(refusing_protocol.NOT_API) - {path.encode() for path in health.PATHS}
        assert others == {path.rstrip("/").encode() for path in asgi.STAFF_PATHS}


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


def test_uvicorn_still_has_what_the_protocol_uses() -> None:
    for name in (
        *("connection_made", "connection_lost", "data_received", "on_message_begin"),
        *(
            "on_headers_complete",
            "on_body",
            "on_message_complete",
            "on_response_complete",
            "pause_writing",
        ),
        *("resume_writing", "timeout_keep_alive_handler", "shutdown", "send_400_response"),
    ):
        assert callable(getattr(HttpToolsProtocol, name)), name
    config = uvicorn.Config(lambda: None, log_config=None)
    server = uvicorn.Server(config)
    loop = asyncio.new_event_loop()
    protocol = HttpToolsProtocol(config, server.server_state, {}, loop)
    loop.close()
    for name in (
        "app",
        "cycle",
        "expect_100_continue",
        "flow",
        "headers",
        "loop",
        "parser",
        "pipeline",
        "server_state",
        "timeout_keep_alive",
        "timeout_keep_alive_task",
        "transport",
    ):
        assert hasattr(protocol, name), name
