"""What uvicorn writes an answer to."""

import asyncio
from collections.abc import Callable
from typing import Final

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
LENGTH: Final = b"\r\ncontent-length: "
"""As uvicorn writes it: in lower case."""


class CoalescingTransport:
    """Sends the head of an answer together with the first part of its body.

    uvicorn sends them apart, which takes a system call and a packet more. A server may wait with
    the head: ASGI says so of its "Response Start" event. Here it waits only if the length of the
    body is known, for then the body is, too; what is streamed may come much later. `close` is
    called at the end of an answer that is the last.
    """

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self._transport = transport
        self._close = close
        self.is_closing = transport.is_closing
        self._head = b""
        self._has_begun = False

    def write(self, data: bytes) -> None:
        """Take what uvicorn writes: perhaps CONTINUE, then the head, then parts of the body."""
        if self._head:
            data, self._head = self._head + data, b""
        elif not self._has_begun and data != CONTINUE:
            self._has_begun = True
            if LENGTH in data:
                self._head = data
                return
        self._transport.write(data)

    def end(self) -> None:
        """Send the head of an answer without a body. The next that is written is another head."""
        head, self._head, self._has_begun = self._head, b"", False
        if head and not self.is_closing():
            self._transport.write(head)

    def close(self) -> None:
        """End the answer and the connection."""
        self.end()
        self._close()
