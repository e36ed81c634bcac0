"""An offer to change the protocol is ignored (RFC 9110, section 7.8): a body stays a body."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from megapolis.http.prepared_response import prepared_problem
from tests.megapolis.conftest import Connect
from tests.megapolis.server.raw_client import Answer, Client, rejected, served
from tests.megapolis.server.raw_requests import GET, NEXT, POST
from tests.megapolis.server.recording_transport import recorded
from tests.waiting import eventually

OFFERS = {
    "an unknown protocol": b"Connection: Upgrade\r\nUpgrade: foo\r\n",
    "HTTP/2": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n",
    "a WebSocket": b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    "a list": b"Connection: upgrade\r\nUpgrade: foo, websocket, h2c\r\n",
    "several headers": b"Connection: keep-alive\r\nConnection: upgrade\r\n"
    b"Upgrade: a\r\nUpgrade: b\r\n",
    "mixed case": b"cONNECTION: uPGRADE\r\nuPGRADE: TLS/1.0\r\n",
    "the other order": b"Upgrade: foo\r\nConnection: Upgrade\r\n",
    "an empty protocol": b"Connection: Upgrade\r\nUpgrade:\r\n",
    "a proxy's header": b"Proxy-Connection: Upgrade\r\nUpgrade: foo\r\n",
}
OFFER = OFFERS["an unknown protocol"]
FRAMED = {
    "with a length": b"Content-Length: %d\r\n\r\n" % len(NEXT) + NEXT,
    "in chunks": b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(NEXT)
    + NEXT
    + b"\r\n0\r\nX-Trailer: a\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n",
}
UNUSUAL = (
    *("DELETE", "OPTIONS", "PUT", "PATCH", "QUERY", "PURGE", "SUBSCRIBE", "M-SEARCH", "SOURCE"),
    *("TRACE", "PROPFIND", "REPORT", "LINK", "MKACTIVITY"),
)
POSTED = json.dumps(f"POST /async {NEXT!r}").encode()
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the method and the whole body."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message["more_body"]
    await prepared_problem(200, f"{scope['method']} {scope['path']} {body!r}")(send)


@pytest.fixture
async def connect_echo() -> AsyncIterator[Connect]:
    """`await connect()` returns a connection to a server that sends back what it is sent."""
    writers = []
    async with served(echo) as server:

        async def connect() -> Client:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writers.append(writer)
            return Client(reader, writer)

        yield connect
        for writer in writers:
            writer.close()


@pytest.fixture(autouse=True)
def says_nothing(log: list[str]) -> Iterator[None]:
    """The log has no line about an offer."""
    yield
    assert not [line for line in log if "pgrade" in line or "install" in line]


def told(answer: Answer) -> str:
    """Return what the application was sent."""
    assert answer.status == 200
    detail: str = answer.json["detail"]
    return detail


async def written_after(*parts: bytes) -> bytes:
    """Return what is written to a client that sends these parts, the last of which ends it."""
    protocol, transport = recorded(echo)
    for part in parts:
        protocol.data_received(part)
        await asyncio.sleep(0)
    await eventually(lambda: protocol._is_rejected or protocol.cycle.response_complete)
    protocol.connection_lost(None)
    return b"".join(transport.written)


async def is_usable(client: Client) -> bool:
    """Whether the next request on the connection is the next to be responded to."""
    client.writer.write(GET + b"\r\n")
    return told(await client.answer()) == "GET /async b''"


class TestOffer:
    @pytest.mark.parametrize("framed", FRAMED.values(), ids=FRAMED)
    @pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
    async def test_leaves_the_body_a_body(
        self, connect_echo: Connect, offer: bytes, framed: bytes
    ) -> None:
        client = await connect_echo()
        for _ in range(2):
            client.writer.write(POST + offer + framed)
            assert told(await client.answer()) == f"POST /async {NEXT!r}"

        assert await is_usable(client)

    @pytest.mark.parametrize("framed", FRAMED.values(), ids=FRAMED)
    async def test_leaves_it_one_wherever_it_is_split(self, framed: bytes) -> None:
        data = POST + OFFER + framed
        for end in range(1, len(data)):
            written = await written_after(data[:end], data[end:], GET + b"\r\n")
            assert POSTED in written
            assert written.count(b"HTTP/1.1 200 OK") == 2

    @pytest.mark.parametrize("framed", FRAMED.values(), ids=FRAMED)
    async def test_leaves_it_one_byte_by_byte(self, framed: bytes) -> None:
        data = (POST + OFFER + framed) * 2 + GET + b"\r\n"
        written = await written_after(*(data[at : at + 1] for at in range(len(data))))

        assert written.count(POSTED) == 2
        assert written.count(b"HTTP/1.1 200 OK") == 3

    @pytest.mark.parametrize("framed", FRAMED.values(), ids=FRAMED)
    async def test_leaves_it_one_if_it_comes_later(
        self, connect_echo: Connect, framed: bytes
    ) -> None:
        client = await connect_echo()
        head, body = (POST + OFFER + framed).split(b"\r\n\r\n", 1)
        expecting = head + b"\r\nExpect: 100-continue\r\n\r\n"
        client.writer.write(expecting)
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.writer.write(body)

        assert told(await client.answer()) == f"POST /async {NEXT!r}"
        assert await is_usable(client)

    @pytest.mark.parametrize("method", UNUSUAL)
    async def test_leaves_it_one_whatever_the_method(
        self, connect_echo: Connect, method: str
    ) -> None:
        client = await connect_echo()
        start = POST.replace(b"POST", method.encode())
        client.writer.write(start + OFFER + FRAMED["with a length"])

        assert told(await client.answer()) == f"{method} /async {NEXT!r}"
        assert await is_usable(client)

    @pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
    async def test_needs_no_body(self, connect_echo: Connect, offer: bytes) -> None:
        client = await connect_echo()
        client.writer.write(GET + offer + b"\r\n" + POST + offer + b"Content-Length: 0\r\n\r\n")

        assert told(await client.answer()) == "GET /async b''"
        assert told(await client.answer()) == "POST /async b''"
        assert await is_usable(client)

    async def test_may_be_in_many_requests_at_once(self, connect_echo: Connect) -> None:
        client = await connect_echo()
        request = POST + OFFER + FRAMED["with a length"]
        client.writer.write((request + GET + b"\r\n" + request) * 50)
        answers = [told(await client.answer()) for _ in range(150)]

        posted = f"POST /async {NEXT!r}"
        assert answers == [posted, "GET /async b''", posted] * 50

    async def test_leaves_a_large_body_whole(self, connect_echo: Connect) -> None:
        client = await connect_echo()
        body = NEXT * 5_000
        client.writer.write(POST + OFFER + b"Content-Length: %d\r\n\r\n" % len(body) + body)

        assert told(await client.answer()) == f"POST /async {body!r}"
        assert await is_usable(client)

    async def test_is_ignored_with_the_last_request(self, connect_echo: Connect) -> None:
        client = await connect_echo()
        last = OFFER.replace(b"Upgrade\r\n", b"Upgrade, close\r\n", 1)
        client.writer.write(POST + last + FRAMED["with a length"])
        answer = await client.answer()

        assert told(answer) == f"POST /async {NEXT!r}"
        assert answer.headers["connection"] == "close"
        assert await client.is_closed()

    async def test_is_ignored_in_http_1_0(self, connect_echo: Connect) -> None:
        client = await connect_echo()
        client.writer.write((POST + OFFER + FRAMED["with a length"]).replace(b"1.1", b"1.0", 1))

        assert told(await client.answer()) == f"POST /async {NEXT!r}"
        assert await client.is_closed()

    async def test_does_not_turn_the_preface_of_http_2_in_a_body_into_one(
        self, connect_echo: Connect
    ) -> None:
        client = await connect_echo()
        length = b"Content-Length: %d\r\n\r\n" % len(PREFACE)
        client.writer.write(POST + OFFERS["HTTP/2"] + length + PREFACE)

        assert told(await client.answer()) == f"POST /async {PREFACE!r}"
        assert await is_usable(client)

    @pytest.mark.parametrize(
        "framing",
        [
            b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            b"Content-Length: 5\r\nContent-Length: 5\r\n",
            b"Transfer-Encoding: gzip, chunked\r\n",
            b"Transfer-Encoding: gzip\r\n",
            b"Host: 127.0.0.1\r\n",
            b"X: a\r\n b\r\n",
        ],
    )
    async def test_does_not_make_an_ambiguous_request_good(
        self, connect_echo: Connect, framing: bytes
    ) -> None:
        answer = await rejected(await connect_echo(), POST + OFFER + framing + b"\r\n")

        assert answer.status == 400

    async def test_does_not_make_room_for_a_large_head(self, connect_echo: Connect) -> None:
        large = POST + OFFER + b"X: " + b"a" * 70_000 + b"\r\n\r\n"

        assert (await rejected(await connect_echo(), large)).status == 431


class TestPreface:
    async def test_of_http_2_is_refused_wherever_it_is_split(self) -> None:
        for end in range(1, len(PREFACE)):
            written = await written_after(PREFACE[:end], PREFACE[end:], NEXT)
            assert written.startswith(b"HTTP/1.1 400")
            assert written.count(b"HTTP/1.1") == 1


class TestTunnel:
    @pytest.mark.parametrize("target", ["/nope", "evil.example:80", "*", "http://127.0.0.1/"])
    @pytest.mark.parametrize("framed", ["with a length", "in chunks"])
    async def test_is_refused_with_all_that_follows(
        self, connect_echo: Connect, target: str, framed: str
    ) -> None:
        start = POST.replace(b"POST /async", f"CONNECT {target}".encode())

        assert (await rejected(await connect_echo(), start + FRAMED[framed])).status == 400
        assert (await rejected(await connect_echo(), start + OFFER + FRAMED[framed])).status == 400

    async def test_is_refused_after_the_answers_to_those_before(self, connect: Connect) -> None:
        client = await connect()
        wait = GET.replace(b"/async", b"/wait") + b"\r\n"
        client.writer.write(wait + GET.replace(b"GET", b"CONNECT") + b"\r\n" + NEXT)

        assert (await client.answer()).body == b"waited"
        assert (await client.answer()).status == 400
        assert await client.is_closed()
