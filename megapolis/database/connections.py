"""The connections of a pool, which are made when they are needed and replaced when lost."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final

from megapolis.database import outages
from megapolis.database.pipeline import State
from megapolis.database.wire import Connection

PIPELINES: Final = 4
"""Connections that are kept open, of a pool of five or more."""
PAUSE: Final = 1.0
"""Seconds after a failed attempt to connect in which the other connections have to do."""


class Connections:
    """Up to `size` connections, the `usual` number of which is kept open.

    A subclass says what happens after responses (`_changed`), when a connection may be used
    (`_serve`), and when there is none and none can be made (`_reject`).
    """

    def __init__(
        self, connect: Callable[[], Awaitable[Connection]], *, size: int, usual: int
    ) -> None:
        self._connect = connect
        self._size = size
        self._usual = usual
        self._connections: list[Connection] = []
        self._connecting: set[asyncio.Task[None]] = set()
        self._paused_until = 0.0
        self._is_open = False

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection."""
        return bool(self._connections)

    def open(self) -> None:
        """Begin to connect. The server may be unreachable; it is tried again when it is needed."""
        self._is_open = True
        self._loop = asyncio.get_running_loop()
        self._fill()

    async def filled(self) -> None:
        """Wait until no connection is being made."""
        while self._connecting:
            await asyncio.wait(self._connecting)

    async def close(self) -> None:
        """Close every connection, busy ones when they have finished."""
        self._is_open = False
        self._reject()
        for connection in self._connections.copy():
            connection.retire()
        for task in self._connecting:
            task.cancel()
        await self.filled()

    def _changed(self) -> None:
        raise NotImplementedError

    def _serve(self) -> None:
        raise NotImplementedError

    def _reject(self) -> None:
        raise NotImplementedError

    def _note(self, connection: Connection) -> None:
        """A connection has read responses, or is lost."""
        if connection.state is State.CLOSED and connection in self._connections:
            self._connections.remove(connection)
            if self._connections:
                self._fill()
        self._changed()

    def _fill(self) -> None:
        """Make the connections that are missing of the usual number."""
        for _ in range(self._usual - len(self._connections) - len(self._connecting)):
            self._grow(self._usual)

    def _grow(self, limit: int) -> None:
        """Make one more connection if there may be one."""
        is_paused = self._connections and monotonic() < self._paused_until
        made = len(self._connections) + len(self._connecting)
        may_grow = self._is_open and made < min(limit, self._size) and not is_paused
        if may_grow and len(self._connecting) < self._usual:
            task = self._loop.create_task(self._add_connection())
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    async def _add_connection(self) -> None:
        try:
            connection = await self._connect()
        except Exception as exc:  # noqa: BLE001 - whatever it is, there is no connection
            self._paused_until = monotonic() + PAUSE
            outages.connecting_failed(exc)
            if self._connections:
                self._serve()
            elif len(self._connecting) == 1:
                self._reject()
            return
        outages.connected()
        if not self._is_open:
            connection.disconnect()
            return
        connection.on_response = self._note
        self._connections.append(connection)
        self._connecting.discard(asyncio.current_task())
        self._fill()
        self._serve()
