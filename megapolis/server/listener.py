"""The socket on which the service listens, from its first connection to its last."""

import ctypes
import select
import socket
import struct
import sys
from contextlib import suppress
from typing import Final

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from megapolis.logger import logger

SO_ATTACH_FILTER: Final = 26
"""socket(7). Python has no name for it."""
DROP_SYN: Final = (
    (0x30, 0, 0, 13),  # load the byte with the flags of the TCP header
    (0x54, 0, 0, 0x12),  # keep SYN and ACK
    (0x15, 0, 1, 0x02),  # SYN alone:
    (0x06, 0, 0, 0),  # drop the packet
    (0x06, 0, 0, 0xFFFFFFFF),  # otherwise: accept it
)
"""A program of the classic BPF, as `struct sock_filter` has its instructions."""


def bind(config: uvicorn.Config) -> socket.socket:
    """Bind, and listen at once: clients that connect while the workers start wait for them."""
    bound = config.bind_socket()
    try:
        bound.listen(config.backlog)
    except OSError as exc:
        bound.close()
        logger.error("Cannot serve on {}:{}: {}.", config.host, config.port, exc)
        sys.exit(STARTUP_FAILURE)
    return bound


def drop_handshakes(listener: socket.socket) -> None:
    """Have the kernel drop the first packet of each new connection; those under way go on.

    A connection that the kernel accepts after the last call of accept() is reset when the socket is
    closed. A client whose packet was dropped repeats it after a second, and its connection is
    refused then. Only Linux has such filters.
    """
    if sys.platform != "linux":
        return
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in DROP_SYN))
    option = struct.pack("HP", len(DROP_SYN), ctypes.addressof(program))
    with suppress(OSError):  # a sandbox may forbid filters
        listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, option)


def has_waiting(listener: socket.socket) -> bool:
    """Return whether connections wait in the queue of the socket."""
    return bool(select.select([listener], [], [], 0)[0])


def close_for_all(listener: socket.socket) -> None:
    """Close the socket in all processes that have it, a hung one included."""
    with suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()
