"""Requests that are refused by their heads, over real sockets, and what of uvicorn is used."""

import asyncio
import json
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from megapolis.environment import limits
from megapolis.http.prepared_response import prepared_problem
from megapolis.settings import API_HEADERS
from tests.megapolis.conftest import Connect
from tests.megapolis.server.raw_client import Client, rejected, served
from tests.megapolis.server.raw_requests import AMBIGUOUS, CHUNKED, GET, LARGE, NEXT, POST, WAIT


class TestAmbiguousRequest:
    @pytest.mark.parametrize("data", AMBIGUOUS.values(), ids=AMBIGUOUS)
    async def test_is_refused_with_one_answer_and_a_closed_connection(
        self, connect: Connect, data: bytes
    ) -> None:
        answer = await rejected(await connect(), data)

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
        assert (await rejected(await connect(), data)).status == 431

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

        assert (await client.answer()).status == 431
        assert await client.is_closed()
        assert not [line for line in log if "Traceback" in line]


class TestTrailer:
    async def test_is_refused_if_it_is_large(self, connect: Connect) -> None:
        trailer = b"5\r\nabcde\r\n0\r\nX: " + b"a" * 1_000_000

        assert (await rejected(await connect(), CHUNKED + trailer)).status == 431

    async def test_is_not_taken_for_headers(self) -> None:
        async def application(scope: Any, receive: Any, send: Any) -> None:
            while (await receive())["more_body"]:
                pass
            await prepared_problem(200, str([name.decode() for name, _ in scope["headers"]]))(send)

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
        "_unset_keepalive_if_required",
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
