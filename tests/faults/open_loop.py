"""A program that asks for one URL at a rate that does not depend on the answers.

`python open_loop.py` reads its orders as JSON from standard input: `port`, `path`, `token`,
`seconds`, and either `rate`, in requests per second that are spread evenly, or `clients`, who ask
again when they are answered. It writes, as JSON, how many milliseconds the answers of each status
took in each second, and how many requests there was no connection for. It runs in a process of its
own, so that nothing else makes it late, and takes a twentieth of what an answer costs the service.
"""

import asyncio
import json
import sys
import time
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any, Final

import uvloop

CONNECTIONS: Final = 3000
TICK: Final = 0.001


class Connection(asyncio.Protocol):
    """Has one request on its way at a time."""

    def __init__(self, request: bytes, done: Callable[["Connection", bytes, float], None]) -> None:
        self._request = request
        self._done = done
        self._received = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            raise exc

    def ask(self) -> None:
        self._asked = time.monotonic()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if not end or len(body) < int(length):
            return
        self._received = b""
        assert head[9:12] != b"503" or b"retry-after: 1" in head
        self._done(self, head[9:12], time.monotonic() - self._asked)


class Generator:
    """Asks, and collects what came of it."""

    def __init__(self, orders: dict[str, Any]) -> None:
        self.orders = orders
        self.took: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
        self.missed = 0
        self._idle: deque[Connection] = deque()
        head = f"GET {orders['path']} HTTP/1.1\r\nHost: 127.0.0.1"
        self._request = f"{head}\r\nAuthorization: Bearer {orders['token']}\r\n\r\n".encode()

    async def run(self) -> dict[str, Any]:
        number = self.orders.get("clients", CONNECTIONS)
        for _ in range(number):
            await self._connect()
        self._until = time.monotonic() + self.orders["seconds"]
        if "rate" in self.orders:
            await self._at_a_rate(self.orders["rate"])
        else:
            while self._idle:
                self._idle.popleft().ask()
        while len(self._idle) < number:  # noqa: ASYNC110 - many connections
            await asyncio.sleep(0.05)
        return {"took": self.took, "missed": self.missed}

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: Connection(self._request, self._answered), "127.0.0.1", self.orders["port"]
        )
        self._idle.append(connection)

    async def _at_a_rate(self, rate: float) -> None:
        started, asked = time.monotonic(), 0
        while (now := time.monotonic()) < self._until:
            due = int((now - started) * rate) - asked
            asked += due
            for _ in range(due):
                if self._idle:
                    self._idle.popleft().ask()
                else:
                    self.missed += 1
            await asyncio.sleep(TICK)

    def _answered(self, connection: Connection, status: bytes, seconds: float) -> None:
        now = time.monotonic()
        self.took[status.decode()][int(now)].append(seconds * 1000)
        if "rate" in self.orders or now > self._until:
            self._idle.append(connection)
        else:
            connection.ask()


if __name__ == "__main__":
    json.dump(uvloop.run(Generator(json.load(sys.stdin)).run()), sys.stdout)
