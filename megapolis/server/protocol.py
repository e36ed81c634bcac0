"""uvicorn's HTTP protocol, with an end to the patience that it has with clients.

uvicorn waits for ever for the rest of a request and for a client to read, and takes a head of any
size. Its option `http` takes a subclass, which this is. What it uses of uvicorn beyond that is in
`tests/megapolis/server/test_protocol.py`, which says so when a release renames it.
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

    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # uvicorn
        """A connection has as long for its first request as a request has."""
        super().connection_made(transport)
        self._send_timer = Timer(self.loop, self._cut)
        self._receive_timer.start(limits.RECEIVE_TIMEOUT)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._receive_timer.end()
        self._send_timer.end()
        self._abandon()
        super().connection_lost(exc)

    def on_head_part(self, size: int) -> None:
        """Refuse a header section that has grown too large."""
        self._head_bytes += size
        if self._head_bytes > limits.HEAD_MAX_BYTES and not self._is_rejected:
            self._reject(header_validation.TOO_LARGE)

    def on_parsed(self) -> None:
        """See whether more of the same request must come."""
        if self._receive_timer.is_running or self.pipeline:
            return
        # uvicorn has ended its timer for idle connections, perhaps for no more than a blank line.
        if self._is_receiving or not (self._is_answering or self.timeout_keep_alive_task):
            self._receive_timer.start(limits.RECEIVE_TIMEOUT)

    def on_message_begin(self) -> None:
        """A request begins."""
        self._is_receiving = self._is_in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Have the request answered, by a refusal if its head is not to be taken."""
        if not self.parser.should_upgrade():
            rejection = header_validation.rejection(
                self.url,
                self.headers,
                version=self.parser.get_http_version(),
                is_long=self._is_same_head,  # A head in one part is no larger than that.
            )
        elif self.parser.get_method() == b"CONNECT":
            rejection = header_validation.MALFORMED
        else:
            return  # It comes again, without the offer.
        self._is_in_head = self._is_same_head = False
        self._head_bytes = 0
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
        """A chunk begins. Fields behind the last one are no headers (RFC 9110, section 6.5.1)."""
        self.headers = []
        self._is_in_head = True

    def on_chunk_complete(self) -> None:
        """A chunk is here whole, the last one with what was behind it."""
        self._is_in_head = self._is_same_head = False
        self._head_bytes = 0

    def on_body(self, body: bytes) -> None:
        """Take a part of the body, or drop it if the answer is there already."""
        self._is_in_head = self._is_same_head = False
        if not self._is_shed:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is here whole, unless it is one of those for which the parser stops."""
        if self.parser.should_upgrade():
            return
        self._is_receiving = False
        if self._receive_timer.is_running:
            self._receive_timer.end()
        if self._is_shed:
            self._is_shed = False
            if not self.timeout_keep_alive_task:  # uvicorn ended it when the rest of the body came
                self.timeout_keep_alive_task = self.loop.call_later(
                    self.timeout_keep_alive, self.timeout_keep_alive_handler
                )
        else:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """An answer is on its way; if it is the last, it must leave in time, too."""
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
        """The client does not read."""
        super().pause_writing()
        self._send_timer.start(limits.SEND_TIMEOUT)

    def resume_writing(self) -> None:
        """It reads again."""
        self._send_timer.end()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """End an idle connection, even if the client has left its last answer unread."""
        self.transport.abort()

    def shutdown(self) -> None:
        """Begin to stop. A request that is not here whole must be so in time to be answered."""
        is_used = self._is_answering or self.timeout_keep_alive_task is not None
        if is_used and not self._is_receiving and not self._has_unread():
            super().shutdown()
            return
        if self._is_answering:
            self.cycle.keep_alive = False
        self._receive_timer.end()
        self._receive_timer = Timer(self.loop, self._stop_receiving)
        self._receive_timer.start(limits.SHUTDOWN_TIMEOUT - limits.ANSWER_TIMEOUT)

    def _stop_receiving(self) -> None:
        """Reject a request of which a part is missing, or close the connection."""
        self._receive_timer.end()
        self._receive_timer = Timer(self.loop, self._cut)
        if self._is_receiving and not self._is_rejected:
            self._reject(STOPPING)
        else:
            self._cut()

    def _has_unread(self) -> bool:
        """Return whether bytes have come that were not read yet."""
        if self.transport.is_closing():
            return False
        number = self.transport.get_extra_info("socket").fileno()
        return fcntl.ioctl(number, termios.FIONREAD, bytes(4)) != bytes(4)

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be parsed."""
        self._reject(header_validation.MALFORMED)


def _always(rejection: PreparedResponse) -> Any:
    async def application(scope: Any, receive: Any, send: Send) -> None:
        await rejection(send)

    return application
