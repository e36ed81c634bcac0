"""Clients that create and read widgets as fast as they are answered, and remember all of it."""

import asyncio
import json
import time
from collections import Counter
from itertools import count
from random import random
from secrets import token_hex
from types import TracebackType
from typing import Any, NamedTuple, Self

CUT = 0
"""The status of a request whose connection was lost before its answer was there."""
REFUSED = -1
"""The status of a request for which there was no connection."""
TIMEOUT = 25.0


class Answer(NamedTuple):
    """What a request came to."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float
    at: float

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One connection to the service, made anew after it was lost."""

    def __init__(self, port: int, token: str = "") -> None:
        self.port = port
        self.token = token
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    async def ask(self, method: str, path: str, body: Any = None) -> Answer:
        """Send a request; the answer's status is CUT or REFUSED where there was none."""
        started = time.monotonic()
        headers: dict[str, str] = {}
        status, content = REFUSED, b""
        try:
            async with asyncio.timeout(TIMEOUT):
                await self.connect()
                status = CUT
                status, headers, content = await self._exchange(method, path, body)
        except (OSError, EOFError):
            self.close()
        if headers.get("connection") == "close":
            self.close()
        now = time.monotonic()
        return Answer(status, headers, content, now - started, now)

    async def status(self, path: str) -> int:
        """Return what a GET comes to."""
        return (await self.ask("GET", path)).status

    async def connect(self) -> None:
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)

    def close(self) -> None:
        if self.writer is not None:
            self.writer.transport.abort()
        self.reader = self.writer = None

    def head(self, method: str, path: str, *extra: str) -> bytes:
        lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *extra]
        if self.token:
            lines.append(f"Authorization: Bearer {self.token}")
        return "\r\n".join([*lines, "", ""]).encode()

    async def _exchange(
        self, method: str, path: str, body: Any
    ) -> tuple[int, dict[str, str], bytes]:
        assert self.reader is not None
        assert self.writer is not None
        content = b"" if body is None else json.dumps(body).encode()
        extra = ["Content-Type: application/json", f"Content-Length: {len(content)}"]
        self.writer.write(self.head(method, path, *(extra if content else [])) + content)
        head = await self.reader.readuntil(b"\r\n\r\n")
        start, *lines = head.decode("latin-1").rstrip().split("\r\n")
        headers = {name.lower(): value for name, value in (x.split(": ", 1) for x in lines)}
        answer = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(start.split()[1]), headers, answer


class Load:
    """`async with Load(...)`: the clients work until the block ends."""

    def __init__(
        self,
        port: int,
        token: str,
        *,
        clients: int = 12,
        per_second: float | None = None,
        reconnects: bool = False,
    ) -> None:
        """With `per_second` they try that many together, however they are answered.

        With `reconnects` they open a connection for each request.
        """
        self._reconnects = reconnects
        self.port = port
        self.token = token
        self.clients = clients
        self._interval = clients / per_second if per_second else 0.0
        self.answers: list[Answer] = []
        self.acknowledged: dict[str, tuple[int, int]] = {}
        self.stopped = False
        self.prefix = token_hex(4)
        self._numbers = count()

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._work()) for _ in range(self.clients)]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.finish()

    async def finish(self) -> None:
        """Let every client end with the answer that it waits for."""
        self.stopped = True
        await asyncio.gather(*self._tasks)

    async def runs(self, requests: int = 100) -> None:
        """Wait for so many more answers that are no errors."""
        wanted = self.succeeded + requests
        async with asyncio.timeout(60):
            while self.succeeded < wanted:  # noqa: ASYNC110 - many clients
                await asyncio.sleep(0.01)

    @property
    def succeeded(self) -> int:
        return sum(1 for answer in self.answers if 200 <= answer.status < 300)

    @property
    def errors(self) -> Counter[int]:
        """How many requests came to each status that is not a success."""
        return Counter(x.status for x in self.answers if not 200 <= x.status < 300)

    def seconds(self, share: float) -> float:
        """The time in which this share of the requests was answered."""
        times = sorted(answer.seconds for answer in self.answers)
        return times[min(len(times) - 1, int(len(times) * share))]

    def next_success(self, since: float) -> float:
        """When the first request that succeeded after this was answered."""
        return min(x.at for x in self.answers if 200 <= x.status < 300 and x.at >= since)

    async def _work(self) -> None:
        async with Client(self.port, self.token) as client:
            due = time.monotonic() + self._interval * random()
            while not self.stopped:
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                due = max(due + self._interval, time.monotonic() - 1)
                if self._reconnects:
                    client.close()
                name = f"{self.prefix}-{next(self._numbers)}"
                created = await client.ask("POST", "/widgets/", {"name": name})
                self.answers.append(created)
                if created.status == 201:
                    widget = created.json()
                    self.acknowledged[widget["name"]] = (widget["id"], widget["owner_id"])
                    path = created.headers["location"]
                    if self._reconnects:
                        client.close()
                    self.answers.append(await client.ask("GET", path))
                elif created.status <= CUT:
                    await asyncio.sleep(0.02)
