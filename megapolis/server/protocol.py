"""uvicorn's HTTP protocol, with timeouts and a limit for headers.

uvicorn has no timeout for the rest of a request, nor for a client that does not read, and its
headers may have any size. This class is passed to its option `http`.
`tests/megapolis/server/test_protocol.py` fails if a release renames what is used of uvicorn.
"""

import asyncio
import fcntl
import termios
from typing import Any, Final

from megapolis.environment import limits
from megapolis.http import header_validation, load_shedding
from megapolis.http.prepared_response import PreparedResponse, Send, prepared_problem
from megapolis.server import shutdown
from megapolis.server.closing_protocol import ClosingProtocol
from megapolis.server.timer import Timer

STOPPING: Final = prepared_problem(
    503, "The service is stopping", {"Connection": "close", "Retry-After": "1"}
)


class TimeoutProtocol(ClosingProtocol):
    """Closes a connection whose client is slower than the limits allow."""

    _header_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # uvicorn
        """Give the first request its time."""
        super().connection_made(transport)
        self._send_timer = Timer(self.loop, self._cut)
        self._receive_timer.start(limits.RECEIVE_TIMEOUT)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers, and the work on the current request."""
        self._receive_timer.end()
        self._send_timer.end()
        self._abandon()
        super().connection_lost(exc)

    def on_header_part(self, size: int) -> None:
        """Reject a header section that is too large."""
        self._header_bytes += size
        if self._header_bytes > limits.HEAD_MAX_BYTES and not self._is_rejected:
            self._reject(header_validation.TOO_LARGE)

    def on_parsed(self) -> None:
        """Start the timer if a request is incomplete."""
        if self._receive_timer.is_running or self.pipeline:
            return
        # uvicorn stopped its keep-alive timer, although perhaps only a blank line has come.
        if self._is_receiving or not (self._is_responding or self.timeout_keep_alive_task):
            self._receive_timer.start(limits.RECEIVE_TIMEOUT)

    def on_message_begin(self) -> None:
        """A request begins."""
        self._is_receiving = self._is_in_headers = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Start the request, or reject it."""
        if not self.parser.should_upgrade():
            rejection = header_validation.rejection(
                self.url,
                self.headers,
                version=self.parser.get_http_version(),
                is_long=self._is_same_headers,  # Headers in one part are no larger than the part.
            )
        elif self.parser.get_method() == b"CONNECT":
            rejection = header_validation.MALFORMED
        else:
            return  # The headers are parsed again, without `Upgrade`.
        self._is_in_headers = self._is_same_headers = False
        self._header_bytes = 0
        if rejection is not None:
            self.app, self.url = _always(rejection), b"/"
        elif load_shedding.api.rejects(self.headers) and self._may_be_shed():
            self._shed()
            return
        super().on_headers_complete()
        if not self.pipeline:
            self._active = self.cycle
        self.cycle.transport = self._coalescing_transport
        if shutdown.has_begun():
            self.cycle.keep_alive = False

    def on_chunk_header(self) -> None:
        """A chunk begins. Trailers are not merged into the headers (RFC 9110, section 6.5.1)."""
        self.headers = []
        self._is_in_headers = True

    def on_chunk_complete(self) -> None:
        """A chunk is complete, the last one with its trailers."""
        self._is_in_headers = self._is_same_headers = False
        self._header_bytes = 0

    def on_body(self, body: bytes) -> None:
        """Pass on a part of the body, or discard it after a rejection."""
        self._is_in_headers = self._is_same_headers = False
        if not self._is_shed:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is complete, unless the parser stopped at its `Upgrade`."""
        if self.parser.should_upgrade():
            return
        self._is_receiving = False
        if self._receive_timer.is_running:
            self._receive_timer.end()
        if self._is_shed:
            self._is_shed = False
            if (
                not self.timeout_keep_alive_task
            ):  # uvicorn stopped it when the rest of the body came
                self.timeout_keep_alive_task = self.loop.call_later(
                    self.timeout_keep_alive, self.timeout_keep_alive_handler
                )
        else:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """A response was written. Start the timer for what comes next."""
        self._coalescing_transport.end()
        if self.pipeline:
            self._active = self.pipeline[-1][0]
        super().on_response_complete()
        if self.transport.is_closing():
            self._receive_timer.start(limits.SEND_TIMEOUT)
        elif self.flow.is_held:
            self.go_on()
        elif self._is_receiving and not self._receive_timer.is_running:
            self._receive_timer.start(limits.RECEIVE_TIMEOUT)

    def pause_writing(self) -> None:
        """The client does not read. Limit how long."""
        super().pause_writing()
        self._send_timer.start(limits.SEND_TIMEOUT)

    def resume_writing(self) -> None:
        """The client reads again."""
        self._send_timer.end()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, even if the client did not read its last response."""
        self.transport.abort()

    def shutdown(self) -> None:
        """Begin to stop. An incomplete request has a limited time to be completed."""
        is_used = self._is_responding or self.timeout_keep_alive_task is not None
        if is_used and not self._is_receiving and not self._has_unread():
            super().shutdown()
            return
        if self._is_responding:
            self.cycle.keep_alive = False
        self._receive_timer.end()
        self._receive_timer = Timer(self.loop, self._stop_receiving)
        self._receive_timer.start(limits.SHUTDOWN_TIMEOUT - limits.ANSWER_TIMEOUT)

    def _stop_receiving(self) -> None:
        """Reject an incomplete request, or close the connection."""
        self._receive_timer.end()
        self._receive_timer = Timer(self.loop, self._cut)
        if self._is_receiving and not self._is_rejected:
            self._reject(STOPPING)
        else:
            self._cut()

    def _has_unread(self) -> bool:
        """Return whether the socket has bytes that were not read."""
        if self.transport.is_closing():
            return False
        number = self.transport.get_extra_info("socket").fileno()
        return fcntl.ioctl(number, termios.FIONREAD, bytes(4)) != bytes(4)

    def send_400_response(self, msg: str) -> None:
        """Reject what cannot be parsed."""
        self._reject(header_validation.MALFORMED)


def _always(rejection: PreparedResponse) -> Any:
    async def application(scope: Any, receive: Any, send: Send) -> None:
        await rejection(send)

    return application
