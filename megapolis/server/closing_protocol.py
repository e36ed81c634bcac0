"""uvicorn's HTTP protocol, with rejections and a lingering close.

uvicorn starts a task for each request. Rejections are written here, without a task, so that under
overload most of the time is left for accepted requests (docs/decisions/0008-overload.md).
"""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from megapolis.http import load_shedding
from megapolis.http.prepared_response import PreparedResponse
from megapolis.server import shutdown
from megapolis.server.parsing_protocol import ParsingProtocol
from megapolis.server.timer import Timer
from megapolis.server.write_coalescing import CoalescingTransport

LINGER: Final = 2.0
"""Seconds that a rejected client has to read its response. What it sends is discarded."""
REJECTED_PAUSE: Final = 0.5
"""Seconds in which nothing is read from a client after a rejection for overload. Clients that
ignore `Retry-After` would use all the time of the worker."""
NOT_API: Final = (b"/admin", b"/static", b"/livez", b"/readyz")
"""Paths of requests that have their own limit, or none."""


class ClosingProtocol(ParsingProtocol):
    """One connection, with what the callbacks of a subclass need to end it."""

    _active: RequestResponseCycle | None = None
    """The request that is served now. `cycle` is the newest one, which may have to wait for it."""
    _is_receiving = False
    """Whether a part of the newest request is still to come."""
    _is_shed = False
    """Whether the rest of the newest request is discarded."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # uvicorn
        """Set up the timer and the transport of responses."""
        super().connection_made(transport)
        self._receive_timer = Timer(self.loop, self._cut)
        self._coalescing_transport: Any = CoalescingTransport(transport, self.close_after_response)

    @property
    def _is_responding(self) -> bool:
        return self._active is not None and not self._active.response_complete

    def _may_be_shed(self) -> bool:
        """Return whether the rejection can be written here. Otherwise the API handler writes it."""
        return not (
            self._is_responding
            or self.flow.write_paused
            or self.expect_100_continue
            or self.url.startswith(NOT_API)
            or self.parser.get_method() == b"HEAD"
            or not self.parser.should_keep_alive()
            or shutdown.has_begun()
        )

    def _shed(self) -> None:
        """Write a 503 for overload, and discard the rest of the request."""
        self._is_shed = True
        self._write(load_shedding.api.rejection(self.headers))
        HttpToolsProtocol.on_response_complete(self)
        self.pause(REJECTED_PAUSE)

    def _reject(self, rejection: PreparedResponse) -> None:
        """Write the response and close, unless the client would take it for another request's."""
        if self._is_responding and not (self._active is self.cycle and self.cycle.more_body):
            self._end_with_earlier_requests()
            return
        if self._is_responding and self.cycle.response_started:
            self._cut()
            return
        self._abandon()
        self._write(rejection)
        self._linger()

    def _write(self, response: PreparedResponse) -> None:
        self.transport.write(response.encoded(self.server_state.default_headers))

    def _end_with_earlier_requests(self) -> None:
        """Close after the responses to earlier requests. The incomplete one gets none."""
        self._is_rejected = True
        if self.cycle.more_body:
            self.pipeline.popleft()
        last = self.pipeline[0][0] if self.pipeline else self._active
        if last is not None:
            last.keep_alive = False

    def _abandon(self) -> None:
        """Tell the current request that its client is gone. uvicorn tells only the newest one."""
        if self._active is not None and not self._active.response_complete:
            self._active.disconnected = True
            self._active.message_event.set()

    def _cut(self) -> None:
        self._abandon()
        self.transport.abort()

    def close_after_response(self) -> None:
        """Close the connection, or linger if the client has sent more.

        Unread bytes make the kernel reset the connection, and the client may lose the response.
        """
        if (self._is_receiving or self.flow.is_held) and not self.transport.is_closing():
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        self._is_rejected = True
        self.pipeline.clear()  # Nothing can be written after the end of the stream.
        self.transport.write_eof()
        self._receive_timer.start(LINGER)
