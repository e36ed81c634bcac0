"""What happens to the requests beyond those that can be worked on."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from megapolis import admission, asgi
from megapolis.admission import Admission
from megapolis.environment import limits
from megapolis.settings import API_HEADERS
from tests.megapolis.exchange import Exchange
from tests.waiting import eventually


@pytest.fixture
async def full_door(door: Any) -> AsyncIterator[Any]:
    """The door with two requests behind it, which is all that it takes."""
    door.admission = Admission(2, name="of a test")
    waiting = [Exchange("/stream-then-wait") for _ in range(2)]
    tasks = [asyncio.create_task(exchange.run(door)) for exchange in waiting]
    for exchange in waiting:
        await exchange.reached
    yield door
    for exchange in waiting:
        exchange.hang_up()
    await asyncio.gather(*tasks)
    assert door.admission.in_flight == 0


class TestFullDoor:
    async def test_refuses_at_once_with_every_header(self, full_door: Any) -> None:
        refused = await Exchange("/async", body=None).run(full_door)  # whose body never comes

        assert refused.problem["status"] == 503
        assert refused.headers["Retry-After"] == "1"
        assert API_HEADERS.items() <= refused.headers.items()

    async def test_is_told_once_and_so_is_its_end(self, full_door: Any, log: list[str]) -> None:
        for _ in range(20):
            await Exchange("/async").run(full_door)
        full_door.admission.limit = 20
        with full_door.admission:
            pass

        assert [line for line in log if "verload" in line] == [
            "WARNING Overloaded: 2 requests of a test are in flight\n\n",
            "WARNING Not overloaded any more; 20 requests were refused\n\n",
        ]

    async def test_lets_the_script_of_an_allowed_origin_read_why(
        self, full_door: Any, settings: Any
    ) -> None:
        settings.CORS_ALLOWED_ORIGINS = ["https://app.example.com"]

        async def ask(origin: str) -> dict[str, str]:
            return (await Exchange("/async", headers={"origin": origin}).run(full_door)).headers

        allowed = await ask("https://app.example.com")
        assert allowed["access-control-allow-origin"] == "https://app.example.com"
        assert "retry-after" in allowed["access-control-expose-headers"]
        foreign = await ask("https://app.example.com.evil.example")
        assert "access-control-allow-origin" not in foreign
        assert allowed["Vary"] == foreign["Vary"] == "origin"

    async def test_still_says_that_it_is_alive(
        self, full_door: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(asgi, "api_handler", full_door)

        assert (await Exchange("/livez").run(asgi.application)).status == 200

    async def test_opens_with_the_next_that_leaves(self, door: Any) -> None:
        door.admission = Admission(1, name="of a test")
        first = Exchange("/stream-then-wait")
        task = asyncio.create_task(first.run(door))
        await first.reached
        assert (await Exchange("/async").run(door)).status == 503

        first.hang_up()
        await task

        assert (await Exchange("/async").run(door)).status == 200


class TestSlowClients:
    async def test_do_not_count_before_their_request_is_here(self, door: Any) -> None:
        door.admission = Admission(1, name="of a test")
        slow = Exchange("/async", method="POST", body=None)
        slow.say(b"a", more=True)
        task = asyncio.create_task(slow.run(door))
        await asyncio.sleep(0)

        assert (await Exchange("/async").run(door)).status == 200

        slow.say(b"b")
        assert (await task).status == 200

    async def test_are_refused_if_their_requests_come_together_and_are_too_many(
        self, door: Any
    ) -> None:
        door.admission = Admission(2, name="of a test")
        slow = [Exchange("/stream-then-wait", method="POST", body=None) for _ in range(3)]
        tasks = [asyncio.create_task(exchange.run(door)) for exchange in slow]
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
        self, door: Any, settings: Any
    ) -> None:
        settings.API_BODY_MAX_BYTES = 1
        door = type(door)()
        door.admission = Admission(1, name="of a test")
        slow = Exchange("/async", method="POST", body=None)
        slow.say(b"a", more=True)
        task = asyncio.create_task(slow.run(door))
        await asyncio.sleep(0)
        with door.admission:
            slow.say(b"b", more=True)
            await task

        assert (slow.status, slow.headers["Connection"]) == (413, "close")

    async def test_do_not_count_while_they_do_not_read(self, door: Any) -> None:
        door.admission = Admission(1, name="of a test")
        slow, has_read = Exchange("/async"), asyncio.Event()

        async def send(message: Any) -> None:
            await has_read.wait()
            await slow.send(message)

        task = asyncio.create_task(door(slow.scope, slow.receive, send))
        await asyncio.sleep(0.01)
        assert (await Exchange("/async").run(door)).status == 200

        has_read.set()
        await task
        assert slow.status == 200


class TestStaffDoor:
    async def test_has_a_limit_of_its_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(admission.staff, "limit", 0)

        assert (await Exchange("/admin/login/").run(asgi.application)).status == 503
        assert limits.STAFF_IN_FLIGHT < admission.LEAST


class TestTimeToAnswer:
    async def test_ends_with_a_503_and_a_free_connection(
        self, door: Any, open_pool: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await open_pool(size=1)
        monkeypatch.setattr(limits, "ANSWER_TIMEOUT", 0.05)

        late = await Exchange("/slow").run(door)

        assert late.problem["status"] == 503
        assert late.problem["detail"] == "This takes too long now"
        assert late.headers["Retry-After"] == "1"
        monkeypatch.undo()
        assert (await Exchange("/select-one").run(door)).status == 200

    async def test_is_not_what_a_view_means_that_raises_the_same_error(
        self, door: Any, log: list[str]
    ) -> None:
        assert (await Exchange("/timeout-error").run(door)).status == 500
