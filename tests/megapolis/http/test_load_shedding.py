"""What happens to the requests beyond those that can be worked on."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from megapolis import asgi
from megapolis.environment import limits
from megapolis.http import load_shedding
from megapolis.http.load_shedding import LoadShedder
from megapolis.settings import API_HEADERS
from tests.megapolis.asgi_request import AsgiRequest
from tests.waiting import eventually


@pytest.fixture
async def full_handler(handler: Any) -> AsyncIterator[Any]:
    """The door with two requests behind it, which is all that it takes."""
    handler.admission = LoadShedder(2, name="of a test")
    waiting = [AsgiRequest("/stream-then-wait") for _ in range(2)]
    tasks = [asyncio.create_task(exchange.run(handler)) for exchange in waiting]
    for exchange in waiting:
        await exchange.reached
    yield handler
    for exchange in waiting:
        exchange.hang_up()
    await asyncio.gather(*tasks)
    assert handler.admission.in_flight == 0


class TestFullDoor:
    async def test_refuses_at_once_with_every_header(self, full_handler: Any) -> None:
        rejected = await AsgiRequest("/async", body=None).run(
            full_handler
        )  # whose body never comes

        assert rejected.problem["status"] == 503
        assert rejected.headers["Retry-After"] == "1"
        assert API_HEADERS.items() <= rejected.headers.items()

    async def test_is_told_once_and_so_is_its_end(self, full_handler: Any, log: list[str]) -> None:
        for _ in range(20):
            await AsgiRequest("/async").run(full_handler)
        full_handler.admission.limit = 20
        with full_handler.admission:
            pass

        assert [line for line in log if "verload" in line] == [
            "WARNING Overloaded: 2 requests of a test are in flight\n\n",
            "WARNING Not overloaded any more; 20 requests were rejected\n\n",
        ]

    async def test_lets_the_script_of_an_allowed_origin_read_why(
        self, full_handler: Any, settings: Any
    ) -> None:
        settings.CORS_ALLOWED_ORIGINS = ["https://app.example.com"]

        async def ask(origin: str) -> dict[str, str]:
            return (
                await AsgiRequest("/async", headers={"origin": origin}).run(full_handler)
            ).headers

        allowed = await ask("https://app.example.com")
        assert allowed["access-control-allow-origin"] == "https://app.example.com"
        assert "retry-after" in allowed["access-control-expose-headers"]
        foreign = await ask("https://app.example.com.evil.example")
        assert "access-control-allow-origin" not in foreign
        assert allowed["Vary"] == foreign["Vary"] == "origin"

    async def test_still_says_that_it_is_alive(
        self, full_handler: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(asgi, "api_handler", full_handler)

        assert (await AsgiRequest("/livez").run(asgi.application)).status == 200

    async def test_opens_with_the_next_that_leaves(self, handler: Any) -> None:
        handler.admission = LoadShedder(1, name="of a test")
        first = AsgiRequest("/stream-then-wait")
        task = asyncio.create_task(first.run(handler))
        await first.reached
        assert (await AsgiRequest("/async").run(handler)).status == 503

        first.hang_up()
        await task

        assert (await AsgiRequest("/async").run(handler)).status == 200


class TestSlowClients:
    async def test_do_not_count_before_their_request_is_here(self, handler: Any) -> None:
        handler.admission = LoadShedder(1, name="of a test")
        slow = AsgiRequest("/async", method="POST", body=None)
        slow.say(b"a", more=True)
        task = asyncio.create_task(slow.run(handler))
        await asyncio.sleep(0)

        assert (await AsgiRequest("/async").run(handler)).status == 200

        slow.say(b"b")
        assert (await task).status == 200

    async def test_are_refused_if_their_requests_come_together_and_are_too_many(
        self, handler: Any
    ) -> None:
        handler.admission = LoadShedder(2, name="of a test")
        slow = [AsgiRequest("/stream-then-wait", method="POST", body=None) for _ in range(3)]
        tasks = [asyncio.create_task(exchange.run(handler)) for exchange in slow]
        for exchange in slow:
            exchange.say(b"a", more=True)
        await asyncio.sleep(0)
        for exchange in slow:
            exchange.say(b"b")
        await eventually(lambda: any(task.done() for task in tasks))

        assert [exchange.status for exchange in slow if exchange.is_complete] == [503]
        for exchange in slow:
            exchange.hang_up()
        await asyncio.gather(*tasks)

    async def test_are_told_first_what_is_wrong_with_their_bodies(
        self, handler: Any, settings: Any
    ) -> None:
        settings.API_BODY_MAX_BYTES = 1
        handler = type(handler)()
        handler.admission = LoadShedder(1, name="of a test")
        slow = AsgiRequest("/async", method="POST", body=None)
        slow.say(b"a", more=True)
        task = asyncio.create_task(slow.run(handler))
        await asyncio.sleep(0)
        with handler.admission:
            slow.say(b"b", more=True)
            await task

        assert (slow.status, slow.headers["Connection"]) == (413, "close")

    async def test_do_not_count_while_they_do_not_read(self, handler: Any) -> None:
        handler.admission = LoadShedder(1, name="of a test")
        slow, has_read = AsgiRequest("/async"), asyncio.Event()

        async def send(message: Any) -> None:
            await has_read.wait()
            await slow.send(message)

        task = asyncio.create_task(handler(slow.scope, slow.receive, send))
        await asyncio.sleep(0.01)
        assert (await AsgiRequest("/async").run(handler)).status == 200

        has_read.set()
        await task
        assert slow.status == 200


class TestStaffDoor:
    async def test_has_a_limit_of_its_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(load_shedding.staff, "limit", 0)

        assert (await AsgiRequest("/admin/login/").run(asgi.application)).status == 503
        assert limits.STAFF_IN_FLIGHT < load_shedding.LEAST


class TestTimeToAnswer:
    async def test_ends_with_a_503_and_a_free_connection(
        self, handler: Any, open_pool: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await open_pool(size=1)
        monkeypatch.setattr(limits, "ANSWER_TIMEOUT", 0.05)

        late = await AsgiRequest("/slow").run(handler)

        assert late.problem["status"] == 503
        assert late.problem["detail"] == "This takes too long now"
        assert late.headers["Retry-After"] == "1"
        monkeypatch.undo()
        assert (await AsgiRequest("/select-one").run(handler)).status == 200

    async def test_is_not_what_a_view_means_that_raises_the_same_error(
        self, handler: Any, log: list[str]
    ) -> None:
        assert (await AsgiRequest("/timeout-error").run(handler)).status == 500
