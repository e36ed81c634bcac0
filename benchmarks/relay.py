"""A relay that puts a round trip between its clients and PostgreSQL.

`python -m benchmarks.relay SOCKET MILLISECONDS` listens on a free port of 127.0.0.1, prints the
port, and passes each connection on to the unix socket. Every chunk waits for half of the round
trip, in either direction, and leaves in the order in which it arrived. A close takes as long.

The time is kept with a timer of the kernel (`timerfd`), because timers of the event loop are a
millisecond late. Connecting to the relay takes no time.
"""

import asyncio
import os
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import uvloop

type Step = tuple[int, Callable[..., None], tuple[bytes, ...]]


class Line:
    """Does things a fixed time after they were given to it, in order."""

    def __init__(self, seconds: float) -> None:
        self._delay = int(seconds * 1e9)
        self._steps: deque[Step] = deque()
        self._timer = _Timer(self._run_due)

    def then(self, function: Callable[..., None], *arguments: bytes) -> None:
        """Call the function when the delay is over."""
        if not self._delay:
            function(*arguments)
            return
        due = time.monotonic_ns() + self._delay
        self._steps.append((due, function, arguments))
        if len(self._steps) == 1:
            self._timer.set(due)

    def _run_due(self) -> None:
        steps = self._steps
        now = time.monotonic_ns()
        while steps and steps[0][0] <= now:
            _, function, arguments = steps.popleft()
            function(*arguments)
        if steps:
            self._timer.set(steps[0][0])


class _Timer:
    """Calls the function at a time of the monotonic clock, in nanoseconds."""

    def __init__(self, function: Callable[[], None]) -> None:
        self._function = function
        self._loop = asyncio.get_running_loop()
        if sys.version_info >= (3, 13):
            self._file = os.timerfd_create(time.CLOCK_MONOTONIC, flags=os.TFD_NONBLOCK)
            self._loop.add_reader(self._file, self._expired)

    def set(self, due: int) -> None:
        if sys.version_info >= (3, 13):
            os.timerfd_settime_ns(self._file, flags=os.TFD_TIMER_ABSTIME, initial=due)
        else:
            self._loop.call_later((due - time.monotonic_ns()) / 1e9, self._function)

    def _expired(self) -> None:
        os.read(self._file, 8)
        self._function()


class End(asyncio.Protocol):
    """One end of a connection. What it receives goes to the other end."""

    other: "End"
    transport: Any

    def __init__(self, line: Line) -> None:
        self.line = line

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.line.then(self.other.write, data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.line.then(self.other.close)

    def pause_writing(self) -> None:
        self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        self.other.transport.resume_reading()

    def write(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)

    def close(self) -> None:
        self.transport.close()


async def pass_on(client: socket.socket, path: str, line: Line) -> None:
    """Connect the client with PostgreSQL, or close it when PostgreSQL is not there."""
    loop = asyncio.get_running_loop()
    near, far = End(line), End(line)
    near.other, far.other = far, near
    try:
        await loop.create_unix_connection(lambda: far, path)
    except OSError:
        client.close()
    else:
        await loop.connect_accepted_socket(lambda: near, client)


async def main(path: str, milliseconds: str) -> None:
    """Serve until the process is ended."""
    line = Line(float(milliseconds) / 2000)
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        listener.setblocking(False)  # noqa: FBT003 - the name of the method says it
        print(listener.getsockname()[1], flush=True)
        while True:
            client, _ = await loop.sock_accept(listener)
            await pass_on(client, path, line)


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
