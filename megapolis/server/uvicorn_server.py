"""uvicorn, with connections accepted by our acceptor and a stop that loses no request."""

import asyncio
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn

from megapolis.server import shutdown
from megapolis.server.acceptor import Acceptor, Balance
from megapolis.server.listener import drop_handshakes


class Server(uvicorn.Server):
    """One process that serves: the only one, or a worker among others.

    SIGTERM and SIGINT stop it with the whole service, SIGUSR1 stops it alone.
    """

    _is_alone = False

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        owns_listener: bool = False,
        balance: Balance | None = None,
        beat: Callable[[], None] | None = None,
    ) -> None:
        """`owns_listener` if no other process has the socket; `beat` is called twice a second."""
        super().__init__(config)
        self._owns_listener = owns_listener
        self._balance = balance
        self._beat = beat

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then accept connections from the socket."""
        await super().startup(sockets=[])
        [self._listener] = sockets or []
        self._acceptor = Acceptor(
            self._listener, self._protocol, others_have_fewer=self._others_have_fewer
        )
        signal.signal(signal.SIGUSR1, self._stop_alone)
        self._beating = asyncio.create_task(self._keep_beating())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop in the steps of `megapolis.server.shutdown`."""
        shutdown.begin(alone=self._is_alone)
        if self._is_alone:
            await self._acceptor.close()
        await self._serve_for(shutdown.notice())
        if not self._is_alone:
            if self._owns_listener:
                drop_handshakes(self._listener)
            await self._serve_for(shutdown.GRACE)
            await self._acceptor.close()
        await super().shutdown()
        self._beating.cancel()

    async def _serve_for(self, seconds: float) -> None:
        """Go on serving, with the right `Date`, unless a second Ctrl-C forces the end."""
        end = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < end and not self.force_exit:
            await self.on_tick(0)
            await asyncio.sleep(0.1)

    def _stop_alone(self, number: int, frame: FrameType | None) -> None:
        self._is_alone = self.should_exit = True

    def _protocol(self) -> asyncio.Protocol:
        make: Any = self.config.http_protocol_class
        protocol: asyncio.Protocol = make(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol

    def _others_have_fewer(self, opening: int = 0) -> bool:
        connections = len(self.server_state.connections) + opening
        return self._balance is not None and self._balance.update(connections)

    async def _keep_beating(self) -> None:
        """Tell the parent that the event loop runs, and the other workers how busy it is."""
        while self._beat is not None:
            self._beat()
            self._others_have_fewer()
            await asyncio.sleep(0.5)
