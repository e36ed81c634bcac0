"""The API handler behind a real server, over real sockets."""

import asyncio
import json
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from megapolis import database
from megapolis.http import disconnect
from tests.megapolis.database.test_recovery import until_blocked
from tests.megapolis.server.raw_client import Client, served

MEGABYTE = 1024 * 1024
POST = b"POST /async HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@pytest.fixture
async def port(handler: Any, db: None) -> AsyncIterator[int]:
    """Where the door is served."""
    async with served(handler) as server:
        yield server.port


@pytest.fixture
async def client(port: int) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    yield Client(reader, writer)
    writer.close()


class TestBody:
    async def test_of_a_hundred_megabytes_is_refused_with_flat_memory(self, client: Client) -> None:
        chunk = b"10000\r\n" + b"a" * 0x10000 + b"\r\n"
        client.writer.write(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        answer = asyncio.create_task(client.answer())
        tracemalloc.start()
        try:
            for _ in range(1600):
                if answer.done():
                    break
                client.writer.write(chunk)
                await client.writer.drain()
            _, peak = tracemalloc.get_traced_memory()
        except ConnectionError:
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        status, headers, body = await answer
        assert (status, headers["connection"]) == (413, "close")
        assert json.loads(body)["detail"] == "Request body too large"
        assert peak < 8 * MEGABYTE
        assert await client.is_closed()

    async def test_announced_too_large_is_refused_before_it_is_sent(self, client: Client) -> None:
        client.writer.write(POST + b"Expect: 100-continue\r\nContent-Length: 104857600\r\n\r\n")

        answer = await client.answer()

        assert answer.status == 413  # and not 100
        assert await client.is_closed()


class TestKeepAlive:
    async def test_goes_on_after_errors(self, client: Client) -> None:
        for path, status in (
            ("/raises", 500),
            ("/nowhere", 404),
            ("/async?a=%FF", 200),
            ("/no-content", 204),
            ("/async", 200),
        ):
            answer = await client.ask(f"GET {path} HTTP/1.1\nHost: 127.0.0.1")
            assert answer.status == status, path
            assert "connection" not in answer.headers

    async def test_goes_on_after_head_which_has_no_body(self, client: Client) -> None:
        head = await client.ask("HEAD /async HTTP/1.1\nHost: 127.0.0.1")
        get = await client.ask("GET /async HTTP/1.1\nHost: 127.0.0.1")

        assert get.headers["content-length"] == head.headers["content-length"]
        assert len(get.body) == int(get.headers["content-length"])

    async def test_goes_on_after_a_foreign_host(self, client: Client) -> None:
        assert (await client.ask("GET /async HTTP/1.1\nHost: evil.example")).status == 400
        assert (await client.ask("GET /async HTTP/1.1\nHost: 127.0.0.1")).status == 200


class TestStream:
    async def test_that_breaks_ends_the_connection(self, client: Client, log: list[str]) -> None:
        answer = await client.ask("GET /broken-stream HTTP/1.1\nHost: 127.0.0.1")

        assert answer.status == 200
        assert await client.reader.read() == b"4\r\none \r\n"  # without the last chunk
        assert any("Exception in ASGI application" in line for line in log)


class TestDisconnect:
    async def test_cancels_the_view_and_frees_its_connection(
        self, client: Client, open_pool: Any, observer: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Much less than MAX_WAIT, for which the last line waits.
        monkeypatch.setattr(disconnect, "WATCH_AFTER", 0.1)
        await open_pool(size=1)
        client.writer.write(b"GET /slow HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        await until_blocked(observer)

        client.writer.close()

        assert await database.fetch(b"SELECT 1", [], reads=True) == [(1,)]
