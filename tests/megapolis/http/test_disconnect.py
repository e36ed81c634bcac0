"""Blocks that are cancelled when the client disconnects, as `asyncio.timeout()` cancels them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from megapolis.http import disconnect
from megapolis.http.disconnect import CancelledByDisconnect


class Client:
    """What ASGI's `receive` brings of a client."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.is_heard = False

    async def receive(self) -> dict[str, Any]:
        self.is_heard = True
        return await self.said.get()

    def disconnect(self) -> None:
        self.said.put_nowait({"type": "http.disconnect"})


async def for_ever() -> None:
    await asyncio.get_running_loop().create_future()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """After the test no task is left."""
    yield Client()
    await settle()
    assert [task for task in asyncio.all_tasks() if "CancelledByDisconnect" in repr(task)] == []


@pytest.fixture
def start(client: Client) -> Callable[..., Any]:
    """`await start(work)` starts work inside the block, and waits until the client is watched."""

    async def start(
        work: Callable[[], Awaitable[Any]] = for_ever, *, at_once: bool = True
    ) -> asyncio.Task[str]:
        async def block() -> str:
            async with CancelledByDisconnect(client.receive, at_once=at_once):
                await work()
                return "done"
            return "left"

        task = asyncio.create_task(block())
        await settle()
        return task

    return start


class TestBlock:
    async def test_is_left_without_an_error_when_the_client_disconnects(
        self, client: Client, start: Any
    ) -> None:
        task = await start()

        client.disconnect()

        assert await task == "left"
        assert task.cancelling() == 0

    async def test_discards_the_rest_of_the_body(self, client: Client, start: Any) -> None:
        task = await start()

        for _ in range(100):
            client.said.put_nowait({"type": "http.request", "body": b"x", "more_body": True})
        await settle()

        assert not task.done()
        assert client.said.empty()
        client.disconnect()
        assert await task == "left"

    async def test_that_ends_by_itself_is_not_disturbed(self, client: Client, start: Any) -> None:
        enough = asyncio.Event()
        task = await start(enough.wait)

        enough.set()

        assert await task == "done"
        client.disconnect()

    async def test_that_ends_as_the_client_disconnects_leaves_no_cancellation_behind(
        self, client: Client, start: Any
    ) -> None:
        for order in (True, False):
            enough = asyncio.Event()
            task = await start(enough.wait)

            if order:
                enough.set()
            client.disconnect()
            enough.set()

            assert await task in {"done", "left"}
            assert task.cancelling() == 0
            client.said = asyncio.Queue()

    @pytest.mark.parametrize("error", [KeyError, TimeoutError, asyncio.CancelledError])
    async def test_raises_what_is_raised_inside(
        self, client: Client, start: Any, error: type[BaseException]
    ) -> None:
        async def fail() -> None:
            raise error

        task = await start(fail)

        with pytest.raises(error):
            await task

    async def test_raises_an_error_that_is_raised_while_it_is_cancelled(
        self, client: Client, start: Any
    ) -> None:
        async def clean_up_badly() -> None:
            try:
                await for_ever()
            finally:
                raise KeyError

        task = await start(clean_up_badly)

        client.disconnect()

        with pytest.raises(KeyError):
            await task
        assert task.cancelling() == 0


@pytest.mark.parametrize("first", ["client", "other"])
async def test_a_cancellation_by_others_wins_over_a_disconnect(
    client: Client, start: Any, first: str
) -> None:
    async def clean_up_slowly() -> None:
        try:
            await for_ever()
        finally:
            client.disconnect()
            await settle()

    task = await start(clean_up_slowly if first == "other" else for_ever)

    if first == "client":
        client.disconnect()
        await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelling() == 1


class TestPatience:
    async def test_passes_before_the_client_is_watched(
        self, client: Client, start: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(disconnect, "WATCH_AFTER", 0.5)
        client.disconnect()

        task = await start(at_once=False)

        assert not client.is_heard
        assert await task == "left"

    async def test_costs_a_short_request_no_task(
        self, client: Client, start: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(disconnect, "WATCH_AFTER", 0.0)
        task = await start(lambda: asyncio.sleep(0), at_once=False)

        assert await task == "done"
        await settle()
        assert not client.is_heard
