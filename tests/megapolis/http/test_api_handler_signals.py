"""Signals on the API handler: sent to whom they would reach behind Django's own handler."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core import signals
from django.dispatch import Signal

from megapolis.http.api_handler import ApiHandler
from tests.megapolis.asgi_request import AsgiRequest
from tests.megapolis.stock_urls import SECRET


@contextmanager
def connected(signal: Signal, receiver: Any) -> Iterator[None]:
    signal.connect(receiver)
    try:
        yield
    finally:
        assert signal.disconnect(receiver)


class TestRequestStarted:
    async def test_reaches_a_synchronous_receiver(self, handler: Any) -> None:
        seen: list[Any] = []

        def receiver(sender: Any, scope: Any, **_: Any) -> None:
            seen.append((sender, scope, threading.current_thread()))

        with connected(signals.request_started, receiver):
            exchange = await AsgiRequest("/async").run(handler)

        [(sender, scope, thread)] = seen
        assert (sender, scope) == (ApiHandler, exchange.scope)
        assert thread is not threading.main_thread()

    async def test_reaches_an_asynchronous_receiver_on_the_loop(self, handler: Any) -> None:
        seen: list[Any] = []

        async def receiver(sender: Any, **_: Any) -> None:
            seen.append((sender, threading.current_thread()))

        with connected(signals.request_started, receiver):
            await AsgiRequest("/async").run(handler)

        assert seen == [(ApiHandler, threading.main_thread())]

    async def test_is_not_sent_to_a_receiver_that_exists_no_more(
        self, handler: Any, started_threads: list[str]
    ) -> None:
        class Listener:
            def hear(self, **_: Any) -> None:
                raise AssertionError

        listener = Listener()
        signals.request_started.connect(listener.hear)
        del listener

        await AsgiRequest("/async").run(handler)

        assert started_threads == []


class TestRequestFinished:
    @pytest.mark.parametrize("path", ["/async", "/sync", "/async-stream", "/raises", "/nowhere"])
    async def test_is_sent_once_after_the_answer(self, handler: Any, path: str) -> None:
        seen: list[Any] = []
        exchange = AsgiRequest(path)

        def receiver(sender: Any, **_: Any) -> None:
            seen.append((sender, exchange.is_complete))

        with connected(signals.request_finished, receiver):
            await exchange.run(handler)

        assert seen == [(ApiHandler, True)]

    async def test_reaches_an_asynchronous_receiver(self, handler: Any) -> None:
        seen: list[Any] = []

        async def receiver(sender: Any, **_: Any) -> None:
            seen.append(sender)

        with connected(signals.request_finished, receiver):
            await AsgiRequest("/async").run(handler)

        assert seen == [ApiHandler]

    async def test_is_sent_when_a_stream_breaks(self, handler: Any) -> None:
        seen: list[Any] = []

        def receiver(sender: Any, **_: Any) -> None:
            seen.append(sender)

        with (
            connected(signals.request_finished, receiver),
            pytest.raises(RuntimeError, match=SECRET),
        ):
            await AsgiRequest("/broken-stream").run(handler)

        assert seen == [ApiHandler]


class TestGotRequestException:
    async def test_reaches_a_synchronous_receiver_with_the_exception_at_hand(
        self, handler: Any
    ) -> None:
        seen: list[Any] = []

        def receiver(sender: Any, request: Any, **_: Any) -> None:
            seen.append((sender, request.path, str(sys.exc_info()[1])))

        with connected(signals.got_request_exception, receiver):
            exchange = await AsgiRequest("/raises").run(handler)

        assert seen == [(None, "/raises", SECRET)]
        assert exchange.status == 500

    async def test_reaches_an_asynchronous_receiver(self, handler: Any) -> None:
        seen: list[Any] = []

        async def receiver(sender: Any, request: Any, **_: Any) -> None:
            seen.append(request.path)

        with connected(signals.got_request_exception, receiver):
            exchange = await AsgiRequest("/raises").run(handler)

        assert seen == ["/raises"]
        assert exchange.problem["status"] == 500

    async def test_is_not_sent_for_an_answer_that_was_meant(self, handler: Any) -> None:
        seen: list[Any] = []

        def receiver(**_: Any) -> None:
            seen.append(None)

        with connected(signals.got_request_exception, receiver):
            await AsgiRequest("/404").run(handler)

        assert seen == []
