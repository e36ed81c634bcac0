"""An application behind a real server, and a client that writes to its socket whatever it likes."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import uvicorn

from megapolis.server.protocol import TimeoutProtocol
from tests.megapolis.server.raw_requests import NEXT
from tests.waiting import eventually

type Ask = Callable[..., Any]


class Answer(NamedTuple):
    """What came back, and whether the server closed the connection after it."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """A connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, request: str) -> Answer:
        self.writer.write(request.replace("\n", "\r\n").encode() + b"\r\n\r\n")
        return await self.answer(has_body=not request.startswith("HEAD"))

    async def answer(self, *, has_body: bool = True) -> Answer:
        head = await self.reader.readuntil(b"\r\n\r\n")
        start, *lines = head.decode().rstrip().split("\r\n")
        headers = {name.lower(): value for name, value in (x.split(": ", 1) for x in lines)}
        length = int(headers.get("content-length", 0)) if has_body else 0
        return Answer(int(start.split()[1]), headers, await self.reader.readexactly(length))

    async def is_closed(self) -> bool:
        try:
            return await self.reader.read(1) == b""
        except ConnectionResetError:
            return True


async def rejected(client: Client, data: bytes) -> Answer:
    """Send it with another request behind; returns the only answer, after which all is over."""
    client.writer.write(data + NEXT)
    answer = await client.answer()
    assert answer.headers["connection"] == "close"
    assert await client.is_closed()
    return answer


@asynccontextmanager
async def served(application: Any) -> AsyncIterator[Any]:
    """Serve it as `manage.py run` does; the server has its `port`."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        application, http=TimeoutProtocol, log_config=None, lifespan="off", server_header=False
    )
    config.timeout_graceful_shutdown = 5
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve(sockets=[listener]))
    server.port = listener.getsockname()[1]  # type: ignore[attr-defined]
    await eventually(lambda: server.started)
    yield server
    server.should_exit = True
    await task
    listener.close()


def asking(server: Any) -> Ask:
    """Return what asks the server, on a new connection each time."""

    async def ask(start: str, *headers: str, body: bytes = b"", host: str = "127.0.0.1") -> Answer:
        lines = [f"{start} HTTP/1.1", f"Host: {host}", *headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        answer = await Client(reader, writer).answer(has_body=not start.startswith("HEAD"))
        writer.close()
        return answer

    return ask
