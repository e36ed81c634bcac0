"""uvicorn's HTTP protocol, with ways to refuse what has come and to hang up.

uvicorn makes a task for each request, even for one that is to be refused. Refusing is done here,
past the application, so that under overload nearly all time is left for what was accepted.
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
"""Seconds that a refused client has to read its answer, while what it sends is dropped."""
REJECTED_PAUSE: Final = 0.5
"""Seconds in which nothing is read from a client after it was rejected for overload. Clients that
do not respect `Retry-After` would take all the time there is."""
NOT_API: Final = (b"/admin", b"/static", b"/livez", b"/readyz")
"""Where requests have a limit of their own, or none."""


class ClosingProtocol(ParsingProtocol):
    """One connection. A subclass calls what is defined here from its callbacks."""

    _active: RequestResponseCycle | None = None
    """What is being answered. `cycle` is the newest request, which may have to wait for that."""
    _is_receiving = False
    """Whether a part of the newest request is still to come."""
    _is_shed = False
    """Whether the rest of one request is dropped when it comes."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # uvicorn
        """Take note of the connection."""
        super().connection_made(transport)
        self._receive_timer = Timer(self.loop, self._cut)
        self._coalescing_transport: Any = CoalescingTransport(transport, self.close_after_answer)

    @property
    def _is_answering(self) -> bool:
        return self._active is not None and not self._active.response_complete

    def _may_be_shed(self) -> bool:
        """Whether it is like most requests; the others are refused by the application."""
        return not (
            self._is_answering
            or self.flow.write_paused
            or self.expect_100_continue
            or self.url.startswith(NOT_API)
            or self.parser.get_method() == b"HEAD"
            or not self.parser.should_keep_alive()
            or shutdown.has_begun()
        )

    def _shed(self) -> None:
        """Answer that there is no time. What is still to come of the request is dropped."""
        self._is_shed = True
        self._write(load_shedding.api.rejection(self.headers))
        HttpToolsProtocol.on_response_complete(self)
        self.pause(REJECTED_PAUSE)

    def _reject(self, rejection: PreparedResponse) -> None:
        """Write the answer and hang up, unless it would be taken for another request's answer."""
        if self._is_answering and not (self._active is self.cycle and self.cycle.more_body):
            self._end_with_earlier_requests()
            return
        if self._is_answering and self.cycle.response_started:
            self._cut()
            return
        self._abandon()
        self._write(rejection)
        self._linger()

    def _write(self, answer: PreparedResponse) -> None:
        self.transport.write(answer.encoded(self.server_state.default_headers))

    def _end_with_earlier_requests(self) -> None:
        """Answer them and close. What came after them is not answered, as it was not whole."""
        self._is_rejected = True
        if self.cycle.more_body:
            self.pipeline.popleft()
        last = self.pipeline[0][0] if self.pipeline else self._active
        if last is not None:
            last.keep_alive = False

    def _abandon(self) -> None:
        """Tell what is being answered that its client is gone; uvicorn tells the newest request."""
        if self._active is not None and not self._active.response_complete:
            self._active.disconnected = True
            self._active.message_event.set()

    def _cut(self) -> None:
        self._abandon()
        self.transport.abort()

    def close_after_answer(self) -> None:
        """Close, or linger if the client has sent more, or is still sending.

        Closing would reset the connection, and the client could lose the answer.
        """
        if (self._is_receiving or self.flow.is_held) and not self.transport.is_closing():
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        self._is_rejected = True
        self.pipeline.clear()  # nothing can be written any more
        self.transport.write_eof()
        self._receive_timer.start(LINGER)
