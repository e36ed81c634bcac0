"""Signals on the API door: sent to whom they would reach behind Django's own handler."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core import signals
from django.dispatch import Signal

from megapolis.handler import NativeHandler
from tests.megapolis.exchange import Exchange
from tests.megapolis.stock_urls import SECRET


@contextmanager
def connected(signal: Signal, receiver: Any) -> Iterator[None]:
    signal.connect(receiver)
    try:
        yield
    finally:
        assert signal.disconnect(receiver)


class TestRequestStarted:
    async def test_reaches_a_synchronous_receiver(self, door: Any) -> None:
        seen: list[Any] = []

        def receiver(sender: Any, scope: Any, **_: Any) -> None:
            seen.append((sender, scope, threading.current_thread()))

        with connected(signals.request_started, receiver):
            exchange = await Exchange("/async").run(door)

        [(sender, scope, thread)] = seen
        assert (sender, scope) == (NativeHandler, exchange.scope)
        assert thread is not threading.main_thread()

    async def test_reaches_an_asynchronous_receiver_on_the_loop(self, door: Any) -> None:
        seen: list[Any] = []

        async def receiver(sender: Any, **_: Any) -> None:
            seen.append((sender, threading.current_thread()))

        with connected(signals.request_started, receiver):
            await Exchange("/async").run(door)

        assert seen == [(NativeHandler, threading.main_thread())]

    async def test_is_not_sent_to_a_receiver_that_exists_no_more(
        self, door: Any, started_threads: list[str]
    ) -> None:
        class Listener:
            def hear(self, **_: Any) -> None:
                raise AssertionError

        listener = Listener()
        signals.request_started.connect(listener.hear)
        del listener

        await Exchange("/async").run(door)

        assert started_threads == []


class TestRequestFinished:
    @pytest.mark.parametrize("path", ["/async", "/sync", "/async-stream", "/raises", "/nowhere"])
    async def test_is_sent_once_after_the_answer(self, door: Any, path: str) -> None:
        seen: list[Any] = []
        exchange = Exchange(path)

        def receiver(sender: Any, **_: Any) -> None:
            seen.append((sender, exchange.is_complete))

        with connected(signals.request_finished, receiver):
            await exchange.run(door)

        assert seen == [(NativeHandler, True)]

    async def test_reaches_an_asynchronous_receiver(self, door: Any) -> None:
        seen: list[Any] = []

        async def receiver(sender: Any, **_: Any) -> None:
            seen.append(sender)

        with connected(signals.request_finished, receiver):
            await Exchange("/async").run(door)

        assert seen == [NativeHandler]

    async def test_is_sent_when_a_stream_breaks(self, door: Any) -> None:
        seen: list[Any] = []

        def receiver(sender: Any, **_: Any) -> None:
            seen.append(sender)

        with (
            connected(signals.request_finished, receiver),
            pytest.raises(RuntimeError, match=SECRET),
        ):
            await Exchange("/broken-stream").run(door)

        assert seen == [NativeHandler]


class TestGotRequestException:
    async def test_reaches_a_synchronous_receiver_with_the_exception_at_hand(
        self, door: Any
    ) -> None:
        seen: list[Any] = []

        def receiver(sender: Any, request: Any, **_: Any) -> None:
            seen.append((sender, request.path, str(sys.exc_info()[1])))

        with connected(signals.got_request_exception, receiver):
            exchange = await Exchange("/raises").run(door)

        assert seen == [(None, "/raises", SECRET)]
        assert exchange.status == 500

    async def test_reaches_an_asynchronous_receiver(self, door: Any) -> None:
        seen: list[Any] = []

        async def receiver(sender: Any, request: Any, **_: Any) -> None:
            seen.append(request.path)

        with connected(signals.got_request_exception, receiver):
            exchange = await Exchange("/raises").run(door)

        assert seen == ["/raises"]
        assert exchange.problem["status"] == 500

    async def test_is_not_sent_for_an_answer_that_was_meant(self, door: Any) -> None:
        seen: list[Any] = []

        def receiver(**_: Any) -> None:
            seen.append(None)

        with connected(signals.got_request_exception, receiver):
            await Exchange("/404").run(door)

        assert seen == []
