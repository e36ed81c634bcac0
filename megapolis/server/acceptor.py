"""Accepts the connections of one worker from the socket on which all workers listen.

uvloop would accept one connection per turn of its loop, and with several workers the kernel would
give one of them nearly all connections (docs/decisions/0025-one-listening-socket.md).
"""

import asyncio
import socket
from collections.abc import Callable, MutableSequence
from typing import Final

BATCH: Final = 16
"""The most connections accepted in one turn of the event loop."""
DEFERENCE: Final = 0.002
"""Seconds for which a worker leaves new connections to workers that have fewer."""
PAUSE: Final = 0.2
"""Seconds without accepting after an error, such as too many open files."""
NO_WORKER: Final = 2**31 - 1
"""The number of connections in a place that no worker has."""


class Balance:
    """The open connections of every worker, in memory that the workers share."""

    def __init__(self, counts: MutableSequence[int], place: int) -> None:
        """`place` is where this worker writes its number."""
        self._counts = counts
        self.place = place

    def update(self, connections: int) -> bool:
        """Store the number for this worker. Return whether another worker has clearly fewer."""
        self._counts[self.place] = connections
        fewest = min(self._counts[:])
        return connections > 1 + fewest + fewest // 4


class Acceptor:
    """Passes new connections to the protocol, from its creation until it is closed."""

    def __init__(
        self,
        listener: socket.socket,
        protocol: Callable[[], asyncio.Protocol],
        *,
        others_have_fewer: Callable[[int], bool],
    ) -> None:
        """`others_have_fewer` gets the number of connections that are being opened."""
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._protocol = protocol
        self._others_have_fewer = others_have_fewer
        self._opening: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        listener.settimeout(0)
        self._listen()

    async def close(self) -> None:
        """Accept the connections that wait in the socket's queue, then close the socket."""
        self._stop()
        while self._accept_one():
            pass
        self._stop()
        self._listener.close()
        await asyncio.gather(*self._opening)

    def _listen(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listener, self._accept)

    def _stop(self) -> None:
        if self._pause is None:
            self._loop.remove_reader(self._listener)
        else:
            self._pause.cancel()

    def _stop_for(self, seconds: float) -> None:
        self._stop()
        self._pause = self._loop.call_later(seconds, self._accept_after_pause)

    def _accept(self) -> None:
        """Accept a batch, or less if other workers have fewer connections."""
        for _ in range(BATCH):
            if self._others_have_fewer(len(self._opening)):
                self._stop_for(DEFERENCE)
                return
            if not self._accept_one():
                return

    def _accept_after_pause(self) -> None:
        """Accept a batch if others still have fewer connections: they are busy or hang."""
        self._listen()
        if self._others_have_fewer(len(self._opening)):
            for _ in range(BATCH):
                if not self._accept_one():
                    return

    def _accept_one(self) -> bool:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return False
        except OSError:  # no descriptors or memory are left, or the parent shut the socket down
            self._stop_for(PAUSE)
            return False
        task = self._loop.create_task(self._open(connection))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        return True

    async def _open(self, connection: socket.socket) -> None:
        connection.settimeout(0)
        try:
            await self._loop.connect_accepted_socket(self._protocol, connection)
        except OSError:  # the client has disconnected
            connection.close()
