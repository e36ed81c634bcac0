"""A connection without a socket: a test hands the protocol its bytes and sees what it writes."""

import asyncio
from typing import Any

import uvicorn

from megapolis.server.protocol import TimeoutProtocol


class Recorder(asyncio.Transport):
    """A connection, of which is kept what was written in each call, and whether it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closed = False
        self.is_paused = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def write_eof(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False


def recorded(application: Any) -> tuple[TimeoutProtocol, Recorder]:
    """Return the protocol of a new connection to the application, and its recorder."""
    config = uvicorn.Config(application, log_config=None, server_header=False)
    config.load()
    state = uvicorn.Server(config).server_state
    protocol = TimeoutProtocol(config, state, {}, asyncio.get_running_loop())
    protocol.connection_made(recorder := Recorder())
    return protocol, recorder
