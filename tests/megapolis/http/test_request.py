"""The body of a request: bounded while it streams in, and given up when the client is gone."""

import asyncio
import json
import tempfile
from typing import Any

import pytest

from megapolis.database.pipeline import State
from megapolis.environment import limits
from megapolis.http.api_handler import ApiHandler
from megapolis.http.request import SMALL, incomplete
from tests.megapolis.asgi_request import AsgiRequest

LIMIT = 1024


@pytest.fixture(autouse=True)
def limit(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small limit, and no way to the disk."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError

    settings.API_BODY_MAX_BYTES = LIMIT
    for name in ("SpooledTemporaryFile", "TemporaryFile", "NamedTemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, refuse)


@pytest.fixture
def large_door(handler: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The door for bodies of up to 4 SMALL, of which all together may have 2 SMALL too much."""
    settings.API_BODY_MAX_BYTES = 4 * SMALL
    monkeypatch.setattr(limits, "BODIES_MAX_BYTES", 2 * SMALL)
    return type(handler)()


class TestBody:
    async def test_reaches_the_view_whole(self, handler: Any) -> None:
        exchange = AsgiRequest("/async", method="POST", body=None)
        for chunk in (b"a" * 1000, b"", b"b" * 23):
            exchange.say(chunk, more=True)
        exchange.say(b"c")

        await exchange.run(handler)

        assert str(b"a" * 1000 + b"b" * 23 + b"c") in exchange.content.decode()

    async def test_declared_too_large_is_refused_before_it_is_read(self, handler: Any) -> None:
        exchange = AsgiRequest(
            "/async", method="POST", headers={"content-length": str(LIMIT + 1)}, body=None
        )

        await exchange.run(handler)

        assert exchange.received == 0
        assert exchange.status == 413
        assert exchange.problem["title"] == "Content Too Large"
        assert exchange.headers["Connection"] == "close"
        assert exchange.headers["X-Request-ID"] == exchange.problem["request_id"]

    async def test_is_refused_if_it_is_large_and_so_are_too_many_others(
        self, large_door: Any
    ) -> None:
        slow = [AsgiRequest("/async", method="POST", body=None) for _ in range(2)]
        for exchange in slow:
            exchange.say(b"a" * 2 * SMALL, more=True)
        tasks = [asyncio.create_task(exchange.run(large_door)) for exchange in slow]
        await asyncio.sleep(0)

        large = await AsgiRequest("/async", method="POST", body=b"b" * 2 * SMALL).run(large_door)
        small = await AsgiRequest("/async", method="POST", body=b"c" * SMALL).run(large_door)

        assert (large.status, large.headers["Connection"]) == (503, "close")
        assert large.headers["Retry-After"] == "1"
        assert small.status == 200
        for exchange in slow:
            exchange.hang_up()
        await asyncio.gather(*tasks)
        assert incomplete.excess == 0

    async def test_is_taken_however_many_small_ones_are_coming_in(self, large_door: Any) -> None:
        slow = [AsgiRequest("/async", method="POST", body=None) for _ in range(20)]
        for exchange in slow:
            exchange.say(b"a" * SMALL, more=True)
        tasks = [asyncio.create_task(exchange.run(large_door)) for exchange in slow]
        await asyncio.sleep(0)

        large = await AsgiRequest("/async", method="POST", body=b"b" * 2 * SMALL).run(large_door)

        assert large.status == 200
        for exchange in slow:
            exchange.hang_up()
        await asyncio.gather(*tasks)

    async def test_that_grows_too_large_is_refused_as_soon_as_it_is(self, handler: Any) -> None:
        exchange = AsgiRequest("/async", method="POST", body=None)
        for _ in range(4):
            exchange.say(b"a" * (LIMIT // 2), more=True)

        await exchange.run(handler)

        assert exchange.received == 3
        assert (exchange.status, exchange.headers["Connection"]) == (413, "close")

    async def test_may_be_larger_where_the_settings_say_so(self, settings: Any) -> None:
        settings.API_BODY_LIMITS = {"/async": LIMIT + 1}

        settings.ROOT_URLCONF = "tests.megapolis.stock_urls"
        handler = ApiHandler()
        larger = await AsgiRequest("/async", method="POST", body=b"a" * (LIMIT + 1)).run(handler)
        elsewhere = await AsgiRequest("/sync", method="POST", body=b"a" * (LIMIT + 1)).run(handler)

        assert (larger.status, elsewhere.status) == (200, 413)

    @pytest.mark.parametrize("length", ["ten", "-", "1e3", "9" * 5000, ""])
    async def test_whose_length_is_no_number_is_refused(self, handler: Any, length: str) -> None:
        headers = {"content-length": length}

        exchange = await AsgiRequest("/async", method="POST", headers=headers).run(handler)

        assert exchange.status in {400, 413}
        assert exchange.problem


class TestClientThatHangsUp:
    async def test_before_its_body_is_there_gets_nothing(self, handler: Any) -> None:
        exchange = AsgiRequest("/async", method="POST", body=None)
        exchange.say(b"a", more=True)
        exchange.hang_up()

        await exchange.run(handler)

        assert exchange.sent == []

    async def test_cancels_the_view_whose_connection_goes_back_clean(
        self, handler: Any, open_pool: Any
    ) -> None:
        pool = await open_pool(size=1)
        exchange = AsgiRequest("/query-then-wait")

        pid = await exchange.run_until_hang_up(handler)

        assert exchange.sent == []
        assert [each.state is State.OPEN and each.is_idle for each in pool._connections] == [True]
        again = await AsgiRequest("/backend").run(handler)
        assert json.loads(again.content) == {"pid": pid, "in_transaction": False}

    async def test_cancels_the_stream_and_closes_the_response(self, handler: Any) -> None:
        exchange = AsgiRequest("/stream-then-wait")

        await exchange.run_until_hang_up(handler)

        assert exchange.content == b"one "
        assert not exchange.is_complete
        assert exchange.closed.is_set()

    async def test_is_noticed_though_more_of_a_refused_body_comes_first(self, handler: Any) -> None:
        exchange = AsgiRequest("/stream-then-wait")
        exchange.say(b"more than was announced")

        await exchange.run_until_hang_up(handler)

        assert exchange.closed.is_set()

    async def test_like_a_server_that_stops_leaves_nothing_open(
        self, handler: Any, open_pool: Any
    ) -> None:
        pool = await open_pool(size=1)
        exchange = AsgiRequest("/query-then-wait")
        task = asyncio.create_task(exchange.run(handler))
        await exchange.reached

        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task
        assert [each.state is State.OPEN and each.is_idle for each in pool._connections] == [True]


class TestStream:
    @pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume synchronous")
    @pytest.mark.parametrize(
        ("path", "content"), [("/async-stream", b"one two three"), ("/sync-stream", b"one two")]
    )
    async def test_is_sent_part_by_part(self, handler: Any, path: str, content: bytes) -> None:
        exchange = await AsgiRequest(path).run(handler)

        assert exchange.content == content
        assert exchange.is_complete
        assert "Content-Length" not in exchange.headers
        assert len([message for message in exchange.sent if message.get("body")]) > 1

    async def test_that_breaks_is_not_completed(self, handler: Any) -> None:
        exchange = AsgiRequest("/broken-stream")

        with pytest.raises(RuntimeError):
            await exchange.run(handler)

        assert exchange.content == b"one "
        assert not exchange.is_complete

    async def test_is_closed_whatever_its_closers_do(self, handler: Any) -> None:
        exchange = await AsgiRequest("/badly-closed").run(handler)

        assert exchange.is_complete
        assert exchange.closed.is_set()
