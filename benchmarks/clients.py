"""Clients that do not wait when the server says so: each has one connection and one request."""

import asyncio
import itertools
import re
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)
CLOSE = re.compile(rb"\r\nconnection: close", re.IGNORECASE)
CONNECTING = 200
"""So many connect at once."""


@dataclass(frozen=True)
class Load:
    """What the clients do. They ask for one widget of many, as one user of many."""

    port: int
    tokens: list[str]
    widgets: int
    clients: int
    seconds: float = 0.0
    """None of them: all connect at once, and each sends one request."""
    warm_up: float = 0.0
    """Seconds of the same before anything is counted."""
    rate: float = 0.0
    """Requests per second, whatever the responses. 0: each asks again after each response."""

    def requests(self) -> Iterator[bytes]:
        """Yield requests without end."""
        every = [
            f"GET /widgets/{number * 7919 % self.widgets + 1} HTTP/1.1\r\n"
            f"Host: 127.0.0.1:{self.port}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
            for number, token in zip(range(5000), itertools.cycle(self.tokens), strict=False)
        ]
        return itertools.cycle(every)


class Client(asyncio.Protocol):
    """A connection with one request at a time."""

    transport: Any

    def __init__(self, crowd: "Crowd") -> None:
        self._crowd = crowd
        self._asked = 0.0
        self._received = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._crowd.free(self)

    def ask(self) -> None:
        if not self.transport.is_closing():
            self._asked = time.monotonic()
            self.transport.write(next(self._crowd.requests))

    def data_received(self, data: bytes) -> None:
        data = self._received + data
        end = data.find(b"\r\n\r\n")
        length = LENGTH.search(data, 0, end + 2)
        if end < 0 or length is None or len(data) < end + 4 + int(length[1]):
            self._received = data
            return
        self._received = b""
        self._crowd.count(data[9:12], time.monotonic() - self._asked)
        self._asked = 0.0
        if CLOSE.search(data, 0, end + 2):
            self.transport.close()
        else:
            self._crowd.responded(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._crowd.closed(waiting=bool(self._asked))


class Crowd:
    """All clients. They connect, and wait for `asking`."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.requests = load.requests()
        self.idle: deque[Client] = deque()
        self.asking = False
        self.counting = False
        self.over = False
        self.served: list[float] = []
        """Seconds that each response took."""
        self.rejected = self.lost = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def connect_all(self) -> None:
        """Connect all clients, some at a time."""
        for connected in range(0, self.load.clients, CONNECTING):
            number = min(CONNECTING, self.load.clients - connected)
            await asyncio.gather(*(self.connect() for _ in range(number)))

    async def connect(self) -> None:
        """Connect a client, however often it takes."""
        loop = asyncio.get_running_loop()
        while not self.over:
            try:
                await loop.create_connection(lambda: Client(self), "127.0.0.1", self.load.port)
            except OSError:
                self.lost += self.counting
                await asyncio.sleep(0.05)
            else:
                return

    def ask_again(self) -> None:
        """Have all clients ask now, and again after each response."""
        self.asking = True
        while self.idle:
            self.idle.popleft().ask()

    def free(self, client: Client) -> None:
        """Have a client ask, or keep it until there is something to ask for."""
        if self.asking:
            client.ask()
        else:
            self.idle.append(client)

    def responded(self, client: Client) -> None:
        """Go on with a client that got its response."""
        self.free(client)

    def count(self, status: bytes, seconds: float) -> None:
        """Count a response. Only 200 counts as served."""
        if not self.counting:
            return
        if status == b"200":
            self.served.append(seconds)
        else:
            self.rejected += 1

    def closed(self, *, waiting: bool) -> None:
        """Count a request that got no response, and connect again."""
        self.lost += waiting and self.counting
        if not self.over:
            task = asyncio.create_task(self.connect())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


class Burst(Crowd):
    """Clients that all connect at once. Each sends one request."""

    def __init__(self, load: Load) -> None:
        super().__init__(load)
        self.asking = self.counting = True
        self.finished = asyncio.Event()
        self._left = load.clients

    def responded(self, client: Client) -> None:
        """Close the connection: the client has what it wanted."""
        client.transport.close()

    def closed(self, *, waiting: bool) -> None:
        """Count a client whose connection is closed, for whatever reason."""
        self.lost += waiting
        self._left -= 1
        if not self._left:
            self.finished.set()

    async def connect(self) -> None:
        """Connect a client, or count it as lost."""
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: Client(self), "127.0.0.1", self.load.port)
        except OSError:
            self.closed(waiting=True)
