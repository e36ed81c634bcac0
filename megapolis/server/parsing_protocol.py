"""uvicorn's HTTP protocol, with a parser that goes no further than it should.

uvicorn parses whatever has come, however many requests that are. And its parser takes an offer to
change the protocol for the change itself: what follows the header section is then no body.
"""

import asyncio
from typing import Any, Final

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

PART: Final = 1024
"""Bytes that are parsed at once. Nothing more is parsed while a request waits for its turn, so this
many bytes of requests can wait: 20 to 40 of the shortest, 2 of the usual size."""


class Reading(FlowControl):
    """uvicorn's flow control, which reads nothing while it is held, whoever asks for more."""

    is_held = False

    def hold(self) -> None:
        """Stop reading until `release()`."""
        self.is_held = True
        self.pause_reading()

    def release(self) -> None:
        """Read again."""
        self.is_held = False
        self.resume_reading()

    def resume_reading(self) -> None:
        """Read again, unless it is held."""
        if not self.is_held:
            super().resume_reading()


class ParsingProtocol(HttpToolsProtocol):
    """One connection. A subclass calls `go_on()` when a request has not to wait any more."""

    _unparsed: bytes | memoryview = b""
    """What was read and has to wait. It is at most what was read at once, as nothing more is."""
    _is_in_head = _is_same_head = False
    """Whether headers or trailers are incomplete; and whether all that was parsed so far of the
    current part belongs to them."""
    _is_pausing = False
    _is_rejected = False
    """Whether all that is still to come is dropped."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # uvicorn
        """Take note of the connection."""
        super().connection_made(transport)
        self.flow: Any = Reading(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what was not parsed."""
        self._unparsed = b""
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse it, or the beginning of it, unless it is dropped."""
        if self._is_rejected:
            return
        if self._unparsed:
            data = bytes(self._unparsed) + data
        self._unparsed = data if len(data) <= PART else memoryview(data)
        self.go_on()

    def go_on(self) -> None:
        """Parse what has come until a request has to wait; then read no more until it is over."""
        while self._unparsed and not (self.pipeline or self._is_pausing or self._is_rejected):
            self._unset_keepalive_if_required()
            part, self._unparsed = self._unparsed[:PART], self._unparsed[PART:]
            self._is_same_head = self._is_in_head
            self._parse(part)
            if self._is_same_head:
                self.on_head_part(len(part))
        if self._is_rejected or not self._unparsed:
            self._unparsed = b""  # An empty view would keep all that was read.
        if (self.pipeline or self._is_pausing) and not self._is_rejected:
            self.flow.hold()
            return
        if self.flow.is_held:
            self.flow.release()
        self.on_parsed()

    def on_head_part(self, size: int) -> None:
        """Called after so many bytes of a header section that is still incomplete."""
        raise NotImplementedError

    def on_parsed(self) -> None:
        """Called when all that has come is parsed or dropped."""
        raise NotImplementedError

    def _parse(self, data: bytes | memoryview) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stopped:
            if self.parser.get_method() == b"CONNECT":
                self._is_rejected = True  # What follows is no request.
                return
            [offset] = stopped.args
            again = self._header_section()
            self.parser = httptools.HttpRequestParser(self)  # The other may be at its end.
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            self._parse(again + data[offset:])
        except httptools.HttpParserError:
            self.logger.warning("Invalid HTTP request received.")
            self.send_400_response("")

    def _header_section(self) -> bytes:
        """Return the header section that was parsed, without `Upgrade`.

        A server may ignore an upgrade (RFC 9110, section 7.8); the parser cannot.
        """
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        fields = [b"%b: %b" % field for field in self.headers if field[0] != b"upgrade"]
        return b"\r\n".join([b"%b %b HTTP/%b" % (method, self.url, version), *fields, b"", b""])

    def pause(self, seconds: float) -> None:
        """Read and parse nothing for so long."""
        if not self._is_pausing:
            self._is_pausing = True
            self.loop.call_later(seconds, self._end_pause)

    def _end_pause(self) -> None:
        self._is_pausing = False
        if not self.transport.is_closing():
            self.go_on()
