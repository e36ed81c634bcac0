"""uvicorn's HTTP protocol, with bounded parsing, and with `Upgrade` ignored.

uvicorn parses all requests that were read, however many. And its parser takes `Upgrade` for a
change of the protocol: it would not read the body.
"""

import asyncio
from typing import Any, Final

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

PART: Final = 1024
"""Bytes that are parsed at once. Parsing stops while a request waits, so at most this many bytes of
requests wait: 20 to 40 of the shortest, 2 of the usual size."""


class Reading(FlowControl):
    """uvicorn's flow control, with a hold that `resume_reading()` does not end."""

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
    """One connection. A subclass calls `go_on()` when no request waits any more."""

    _unparsed: bytes | memoryview = b""
    """Bytes that were read and not parsed: at most those of one read."""
    _is_in_headers = _is_same_headers = False
    """Whether headers or trailers are incomplete, and whether the current part began with them."""
    _is_pausing = False
    _is_rejected = False
    """Whether all further bytes are discarded."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # uvicorn
        """Set up the flow control."""
        super().connection_made(transport)
        self.flow: Any = Reading(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Discard what was not parsed."""
        self._unparsed = b""
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse as much as may be parsed now."""
        if self._is_rejected:
            return
        if self._unparsed:
            data = bytes(self._unparsed) + data
        self._unparsed = data if len(data) <= PART else memoryview(data)
        self.go_on()

    def go_on(self) -> None:
        """Parse until a request has to wait. Then stop reading."""
        while self._unparsed and not (self.pipeline or self._is_pausing or self._is_rejected):
            self._unset_keepalive_if_required()
            part, self._unparsed = self._unparsed[:PART], self._unparsed[PART:]
            self._is_same_headers = self._is_in_headers
            self._parse(part)
            if self._is_same_headers:
                self.on_header_part(len(part))
        if self._is_rejected or not self._unparsed:
            self._unparsed = b""  # An empty memoryview keeps the whole buffer.
        if (self.pipeline or self._is_pausing) and not self._is_rejected:
            self.flow.hold()
            return
        if self.flow.is_held:
            self.flow.release()
        self.on_parsed()

    def on_header_part(self, size: int) -> None:
        """Called after `size` more bytes of an incomplete header section."""
        raise NotImplementedError

    def on_parsed(self) -> None:
        """Called when all bytes are parsed or discarded."""
        raise NotImplementedError

    def _parse(self, data: bytes | memoryview) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stopped:
            if self.parser.get_method() == b"CONNECT":
                self._is_rejected = True  # The rest is not HTTP.
                return
            [offset] = stopped.args
            again = self._header_section()
            self.parser = httptools.HttpRequestParser(self)  # The old parser cannot go on.
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            self._parse(again + data[offset:])
        except httptools.HttpParserError:
            self.logger.warning("Invalid HTTP request received.")
            self.send_400_response("")

    def _header_section(self) -> bytes:
        """Return the parsed header section without `Upgrade` (RFC 9110, section 7.8: optional)."""
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        fields = [b"%b: %b" % field for field in self.headers if field[0] != b"upgrade"]
        return b"\r\n".join([b"%b %b HTTP/%b" % (method, self.url, version), *fields, b"", b""])

    def pause(self, seconds: float) -> None:
        """Read and parse nothing for some seconds."""
        if not self._is_pausing:
            self._is_pausing = True
            self.loop.call_later(seconds, self._end_pause)

    def _end_pause(self) -> None:
        self._is_pausing = False
        if not self.transport.is_closing():
            self.go_on()
