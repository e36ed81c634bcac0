"""What leaves in one piece, seen from below uvicorn."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from megapolis.server.protocol import TimeoutProtocol
from megapolis.server.write_coalescing import CONTINUE
from tests.megapolis.server.recording_transport import Recorder, recorded
from tests.waiting import eventually

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
START = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]}


type Connect = Callable[[Any], tuple[TimeoutProtocol, Recorder]]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """`connect(application)` gives the protocol of a new connection, and its recorder."""
    made: list[TimeoutProtocol] = []

    def connect(application: Any) -> tuple[TimeoutProtocol, Recorder]:
        protocol, recorder = recorded(application)
        made.append(protocol)
        return protocol, recorder

    yield connect
    for protocol in made:
        protocol.connection_lost(None)


def answering(*parts: bytes, headers: Any = ((b"content-length", b"5"),), status: int = 200) -> Any:
    """Return an application that sends these parts of a body."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for number, part in enumerate(parts, start=1):
            more = number < len(parts)
            await send({"type": "http.response.body", "body": part, "more_body": more})

    return application


class TestAnswer:
    async def test_leaves_in_one_piece(self, connect: Connect) -> None:
        protocol, transport = connect(answering(b"hello"))
        protocol.data_received(GET)
        await eventually(lambda: transport.written)

        assert transport.written == [b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"]

    async def test_does_so_after_another_on_the_connection(self, connect: Connect) -> None:
        protocol, transport = connect(answering(b"hello"))
        protocol.data_received(GET + GET)
        await eventually(lambda: len(transport.written) == 2)

        assert transport.written[0] == transport.written[1]

    async def test_has_its_later_parts_sent_as_they_come(self, connect: Connect) -> None:
        protocol, transport = connect(answering(b"he", b"ll", b"o"))
        protocol.data_received(GET)
        await eventually(lambda: len(transport.written) == 3)

        assert transport.written == [
            b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe", b"ll", b"o",
        ]  # fmt: skip

    async def test_to_head_is_sent_without_a_body(self, connect: Connect) -> None:
        protocol, transport = connect(answering(b"hello"))
        protocol.data_received(GET.replace(b"GET", b"HEAD") + GET)
        await eventually(lambda: len(transport.written) == 2)

        assert transport.written[0] == b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"
        assert transport.written[1].endswith(b"hello")

    async def test_may_be_empty(self, connect: Connect) -> None:
        protocol, transport = connect(answering(b"", headers=(), status=204))
        protocol.data_received(GET)
        await eventually(lambda: transport.written)

        assert b"".join(transport.written) == b"HTTP/1.1 204 No Content\r\n\r\n"

    async def test_is_sent_before_the_connection_is_closed(self, connect: Connect) -> None:
        protocol, transport = connect(answering(b"hello"))
        protocol.data_received(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        await eventually(lambda: transport.closed)

        assert [data[-5:] for data in transport.written] == [b"hello"]


class TestStream:
    @pytest.mark.parametrize("method", [b"GET", b"HEAD"])
    async def test_has_its_head_sent_at_once(self, connect: Connect, method: bytes) -> None:
        more = asyncio.Event()

        async def application(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await more.wait()
            await send({"type": "http.response.body", "body": b"late"})

        protocol, transport = connect(application)
        protocol.data_received(GET.replace(b"GET", method))
        await eventually(lambda: transport.written)
        (head,) = transport.written
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")

        more.set()
        await eventually(lambda: protocol.cycle.response_complete)
        assert len(transport.written) == (2 if method == b"GET" else 1)

    async def test_sends_what_looks_like_a_head(self, connect: Connect) -> None:
        sent = asyncio.Event()

        async def application(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            part = {"type": "http.response.body", "body": b"\r\ncontent-length: 1\r\n\r\n"}
            await send(part | {"more_body": True})
            sent.set()
            await receive()
            await receive()

        protocol, transport = connect(application)
        protocol.data_received(GET)
        await sent.wait()

        assert len(transport.written) == 2


class TestContinue:
    async def test_is_not_held_back(self, connect: Connect) -> None:
        async def application(scope: Any, receive: Any, send: Any) -> None:
            body = (await receive())["body"]
            await answering(body)(scope, receive, send)

        protocol, transport = connect(application)
        fields = b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        protocol.data_received(b"POST / HTTP/1.1\r\nHost: a\r\n" + fields)
        await eventually(lambda: transport.written)
        assert transport.written == [CONTINUE]

        protocol.data_received(b"hello")
        await eventually(lambda: len(transport.written) == 2)
        assert transport.written[1].endswith(b"\r\n\r\nhello")


class TestBrokenOffAnswer:
    async def test_is_sent_as_far_as_it_came(self, connect: Connect) -> None:
        async def application(scope: Any, receive: Any, send: Any) -> None:
            await send(START)

        protocol, transport = connect(application)
        protocol.data_received(GET)
        await eventually(lambda: transport.closed)

        assert transport.written == [b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"]

    async def test_is_not_sent_to_a_client_that_is_gone(self, connect: Connect) -> None:
        begun, gone = asyncio.Event(), asyncio.Event()
        ended = asyncio.Event()

        async def application(scope: Any, receive: Any, send: Any) -> None:
            await send(START)
            begun.set()
            await gone.wait()
            asyncio.get_running_loop().call_soon(ended.set)
            raise RuntimeError

        protocol, transport = connect(application)
        protocol.data_received(GET)
        await begun.wait()
        transport.close()
        protocol.connection_lost(None)
        gone.set()
        await ended.wait()

        assert transport.written == []
