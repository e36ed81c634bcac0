"""uvicorn's HTTP protocol, with an end to the patience that it has with clients.

uvicorn waits for ever for the rest of a request and for a client to read, and takes a head of any
size. It makes a task for each request, even for one that is to be refused; refusing is done here,
so that under overload nearly all time is left for what was accepted. uvicorn's option `http` takes
a subclass, which this is. What it uses of uvicorn beyond that is in
`tests/megapolis/test_protocol.py`, which says so when a release renames it.
"""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from megapolis import admission, limits, request_head, shutdown
from megapolis.plain import PlainAnswer, Send

LINGER: Final = 2.0
"""Seconds that a refused client has to read its answer, while what it sends is dropped."""
REFUSED_PAUSE: Final = 0.02
"""Seconds for which a client is not heard that was refused and asks again within twice that. A few
such clients would take all the time there is."""
NOT_API: Final = (b"/admin", b"/static", b"/livez", b"/readyz")
"""Where requests have a limit of their own, or none."""


class PatientProtocol(HttpToolsProtocol):
    """Cuts a client off that takes longer than `megapolis.limits` for a request or an answer."""

    _active: RequestResponseCycle | None = None
    """What is being answered. `cycle` is the newest request, which may have to wait for that."""
    _deadline: asyncio.TimerHandle | None = None
    _send_deadline: asyncio.TimerHandle | None = None
    _is_receiving = False
    _is_in_head = False
    _is_refused = _is_shed = False
    _shed_at = 0.0
    _chunk_bytes = _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection has as long for its first request as a request has."""
        super().connection_made(transport)
        self._answering_transport: Any = LingeringTransport(self)
        self._start_deadline(limits.RECEIVE_TIMEOUT)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._end_deadline()
        self._end_send_deadline()
        self._abandon()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take in a part, and see whether more of the same request must come."""
        if self._is_refused:
            return
        was_in_head, self._chunk_bytes = self._is_in_head, len(data)
        super().data_received(data)
        if was_in_head and self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > limits.HEAD_MAX_BYTES:
                self._refuse(request_head.TOO_LARGE)
        if self._is_receiving or not (self._is_answering or self._is_shed):
            if self._deadline is None:
                self._start_deadline(limits.RECEIVE_TIMEOUT)
        else:
            self._end_deadline()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._is_receiving = self._is_in_head = True
        self._is_shed = False
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Have the request answered, by a refusal if its head is not to be taken."""
        self._is_in_head = False
        refusal = request_head.refusal(
            self.url,
            self.headers,
            version=self.parser.get_http_version(),
            # Only a head in several parts, or in a large one, can be too large.
            is_long=self._head_bytes > 0 or self._chunk_bytes > limits.HEAD_MAX_BYTES,
        )
        if refusal is not None:
            self.app, self.url = _always(refusal), b"/"
        elif admission.api.refuses(self.headers) and self._may_be_shed():
            self._shed()
            return
        super().on_headers_complete()
        self.cycle.transport = self._answering_transport
        if shutdown.has_begun():
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Take a part of the body, or drop it if the answer is there already."""
        if not self._is_shed:
            super().on_body(body)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._active = cycle
        super()._start_asgi_task(cycle, app)

    def on_message_complete(self) -> None:
        """The request is here whole."""
        self._is_receiving = False
        if not self._is_shed:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """An answer is on its way; if it is the last, it must leave in time, too."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._start_deadline(limits.SEND_TIMEOUT)

    def pause_writing(self) -> None:
        """The client does not read."""
        super().pause_writing()
        self._send_deadline = self.loop.call_later(limits.SEND_TIMEOUT, self._cut)

    def resume_writing(self) -> None:
        """It reads again."""
        self._end_send_deadline()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """End an idle connection, even if the client has left its last answer unread."""
        self.transport.abort()

    def shutdown(self) -> None:
        """Begin to stop. A request of which a part is still to come will not be worked on."""
        if self._is_answering and self.cycle.more_body and not self.cycle.response_started:
            if self._active is self.cycle:
                self._cut()
            else:
                self._end_with_earlier_requests()
        super().shutdown()

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be parsed."""
        self._refuse(request_head.MALFORMED)

    @property
    def _is_answering(self) -> bool:
        return self._active is not None and not self._active.response_complete

    def _may_be_shed(self) -> bool:
        """Whether it is like most requests; the others are refused by the application."""
        return not (
            self._is_answering
            or self.expect_100_continue
            or self.url.startswith(NOT_API)
            or self.parser.get_method() == b"HEAD"
            or not self.parser.should_keep_alive()
            or shutdown.has_begun()
        )

    def _shed(self) -> None:
        """Answer that there is no time. What is still to come of the request is dropped."""
        self._is_shed = True
        self._write(admission.api.refusal(self.headers))
        super().on_response_complete()
        now = self.loop.time()
        if now - self._shed_at < REFUSED_PAUSE * 2:
            self.flow.pause_reading()
            self.loop.call_later(REFUSED_PAUSE, self.flow.resume_reading)
        self._shed_at = now

    def _refuse(self, refusal: PlainAnswer) -> None:
        """Write the answer past the application, unless it would be taken for another's."""
        if self._is_answering and not (self._active is self.cycle and self.cycle.more_body):
            self._end_with_earlier_requests()
            return
        if self._is_answering and self.cycle.response_started:
            self._cut()
            return
        self._abandon()
        self._write(refusal)
        self._linger()

    def _write(self, answer: PlainAnswer) -> None:
        """Write it past the application."""
        self.transport.write(answer.encoded(self.server_state.default_headers))

    def _end_with_earlier_requests(self) -> None:
        """Answer them and close. What came after them is not answered, as it was not whole."""
        self._is_refused = True
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
        """Close, or linger if the client is still sending what was answered already."""
        if self._is_receiving and not self.transport.is_closing():
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        self._is_refused = True
        self.transport.write_eof()
        self._start_deadline(LINGER)

    def _start_deadline(self, seconds: float) -> None:
        self._end_deadline()
        self._deadline = self.loop.call_later(seconds, self._cut)

    def _end_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _end_send_deadline(self) -> None:
        if self._send_deadline is not None:
            self._send_deadline.cancel()
            self._send_deadline = None


class LingeringTransport:
    """What an answer is written to. Closed at once, it would take an early answer back with it."""

    def __init__(self, protocol: PatientProtocol) -> None:
        self.write = protocol.transport.write
        self.is_closing = protocol.transport.is_closing
        self.close = protocol.close_after_answer


def _always(refusal: PlainAnswer) -> Any:
    async def application(scope: Any, receive: Any, send: Send) -> None:
        await refusal(send)

    return application
