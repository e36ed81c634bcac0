"""Drives an ASGI application message by message, where a client library would hide them."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from tests.waiting import TIMEOUT


class AsgiRequest:
    """One HTTP request to an application, and what it has answered so far.

    Without a `body` the client says nothing until `say()` or `hang_up()` is called.
    """

    def __init__(
        self,
        path: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        query: bytes = b"",
        body: bytes | None = b"",
    ) -> None:
        named = {"host": "127.0.0.1", **(headers or {})}
        self.scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query,
            "root_path": "",
            "headers": [(name.encode(), value.encode("latin1")) for name, value in named.items()],
            "client": ("127.0.0.1", 50_000),
            "server": ("127.0.0.1", 8000),
        }
        self.reached: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.closed = asyncio.Event()
        self.scope |= {"reached": self.reached, "closed": self.closed}
        self.sent: list[Mapping[str, Any]] = []
        self.received = 0
        self._incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        if body is not None:
            self.say(body)

    def say(self, chunk: bytes, *, more: bool = False) -> None:
        self._incoming.put_nowait({"type": "http.request", "body": chunk, "more_body": more})

    def hang_up(self) -> None:
        self._incoming.put_nowait({"type": "http.disconnect"})

    async def receive(self) -> dict[str, Any]:
        message = await self._incoming.get()
        self.received += 1
        return message

    async def send(self, message: Mapping[str, Any]) -> None:
        self.sent.append(message)

    async def run_until_hang_up(self, application: Any) -> int:
        """Hang up where the view waits; returns what it has said about that point."""
        task = asyncio.create_task(self.run(application))
        async with asyncio.timeout(TIMEOUT):
            reached = await self.reached
        self.hang_up()
        await task
        return reached

    async def run(self, application: Any) -> "AsgiRequest":
        await application(self.scope, self.receive, self.send)
        return self

    @property
    def status(self) -> int:
        status: int = self.sent[0]["status"]
        return status

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode("latin1") for name, value in self.sent[0]["headers"]}

    @property
    def content(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])

    @property
    def is_complete(self) -> bool:
        return bool(self.sent) and not self.sent[-1].get("more_body", False)

    @property
    def problem(self) -> dict[str, Any]:
        assert self.headers["Content-Type"] == "application/problem+json"
        problem: dict[str, Any] = json.loads(self.content)
        return problem
