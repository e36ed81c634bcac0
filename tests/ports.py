"""Ports for what a test starts."""

import secrets
import socket
from contextlib import suppress
from typing import Final

LOWEST: Final = 10_000
NUMBER: Final = 20_000
"""Linux gives clients ports from 32,768 on, macOS from 49,152: none of these is taken by one before
what was started has it."""


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody has."""
    while True:
        port = LOWEST + secrets.randbelow(NUMBER)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
