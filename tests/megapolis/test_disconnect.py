"""Blocks that end when the client hangs up, as `asyncio.timeout()` ends them when time is up."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from megapolis import disconnect
from megapolis.disconnect import CancelledByDisconnect


class Client:
    """What ASGI's `receive` brings of a client."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[dict[str, Any] | Exception] = asyncio.Queue()
        self.is_heard = False

    async def receive(self) -> dict[str, Any]:
        self.is_heard = True
        message = await self.said.get()
        if isinstance(message, Exception):
            raise message
        return message

    def hang_up(self) -> None:
        self.said.put_nowait({"type": "http.disconnect"})


async def for_ever() -> None:
    await asyncio.get_running_loop().create_future()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """Behind it nothing is left: no task that runs on, and no exception that nobody has seen."""
    unhandled: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: unhandled.append(context))
    yield Client()
    await settle()
    assert [task for task in asyncio.all_tasks() if "CancelledByDisconnect" in repr(task)] == []
    gc.collect()
    loop.set_exception_handler(None)
    assert unhandled == []


@pytest.fixture
def start(client: Client) -> Callable[..., Any]:
    """`await start(work)` starts work inside the block, and waits until the client is watched."""

    async def start(
        work: Callable[[], Awaitable[Any]] = for_ever, *, at_once: bool = True
    ) -> asyncio.Task[str]:
        async def block() -> str:
            with CancelledByDisconnect(client.receive, at_once=at_once):
                await work()
                return "done"
            return "left"

        task = asyncio.create_task(block())
        await settle()
        return task

    return start


class TestBlock:
    async def test_is_left_quietly_when_the_client_hangs_up(
        self, client: Client, start: Any
    ) -> None:
        task = await start()

        client.hang_up()

        assert await task == "left"
        assert task.cancelling() == 0

    async def test_takes_no_notice_of_what_is_left_of_the_body(
        self, client: Client, start: Any
    ) -> None:
        task = await start()

        for _ in range(100):
            client.said.put_nowait({"type": "http.request", "body": b"x", "more_body": True})
        await settle()

        assert not task.done()
        assert client.said.empty()
        client.hang_up()
        assert await task == "left"

    async def test_that_ends_by_itself_is_not_disturbed(self, client: Client, start: Any) -> None:
        enough = asyncio.Event()
        task = await start(enough.wait)

        enough.set()

        assert await task == "done"
        client.hang_up()

    async def test_that_ends_as_the_client_hangs_up_leaves_no_cancellation_behind(
        self, client: Client, start: Any
    ) -> None:
        for order in (True, False):
            enough = asyncio.Event()
            task = await start(enough.wait)

            if order:
                enough.set()
            client.hang_up()
            enough.set()

            assert await task in {"done", "left"}
            assert task.cancelling() == 0
            client.said = asyncio.Queue()

    @pytest.mark.parametrize("error", [KeyError, asyncio.CancelledError])
    async def test_raises_what_is_raised_inside(
        self, client: Client, start: Any, error: type[BaseException]
    ) -> None:
        async def fail() -> None:
            raise error

        task = await start(fail)

        with pytest.raises(error):
            await task

    async def test_may_answer_the_cancellation_with_an_error_of_its_own(
        self, client: Client, start: Any
    ) -> None:
        async def clean_up_badly() -> None:
            try:
                await for_ever()
            finally:
                raise KeyError

        task = await start(clean_up_badly)

        client.hang_up()

        with pytest.raises(KeyError):
            await task
        assert task.cancelling() == 0

    async def test_may_finish_in_spite_of_the_cancellation(
        self, client: Client, start: Any
    ) -> None:
        async def finish() -> None:
            with pytest.raises(asyncio.CancelledError):
                await for_ever()

        task = await start(finish)

        client.hang_up()

        assert await task == "done"
        assert task.cancelling() == 0


class TestCancellationFromOutside:
    async def test_goes_on(self, client: Client, start: Any) -> None:
        task = await start()

        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task

    @pytest.mark.parametrize("first", ["client", "other"])
    async def test_wins_over_a_disconnect(self, client: Client, start: Any, first: str) -> None:
        async def clean_up_slowly() -> None:
            try:
                await for_ever()
            finally:
                client.hang_up()
                await settle()

        task = await start(clean_up_slowly if first == "other" else for_ever)

        if first == "client":
            client.hang_up()
            await asyncio.sleep(0)
        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelling() == 1

    async def test_before_the_block_does_not_count(self, client: Client) -> None:
        async def clean_up() -> str:
            try:
                await for_ever()
            except asyncio.CancelledError:
                with CancelledByDisconnect(client.receive, at_once=True):
                    client.hang_up()
                    await for_ever()
                return "cleaned up"
            return ""

        task = asyncio.create_task(clean_up())
        await settle()

        task.cancel()

        assert await task == "cleaned up"
        assert task.cancelling() == 1

    async def test_by_a_timeout_around_it_is_a_timeout(self, client: Client) -> None:
        async def wait() -> None:
            with CancelledByDisconnect(client.receive, at_once=True):
                await for_ever()

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wait(), 0.01)

    async def test_by_a_task_group_around_it_is_the_groups(self, client: Client) -> None:
        async def fail() -> None:
            await settle()
            raise KeyError

        with pytest.RaisesGroup(KeyError):
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
                with CancelledByDisconnect(client.receive, at_once=True):
                    await for_ever()

    async def test_of_a_group_inside_goes_no_further_than_the_block(
        self, client: Client, start: Any
    ) -> None:
        async def group() -> None:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(for_ever())

        task = await start(group)

        client.hang_up()

        assert await task == "left"


class TestReceive:
    async def test_that_raises_ends_the_block_with_its_error(
        self, client: Client, start: Any
    ) -> None:
        task = await start()

        client.said.put_nowait(OSError("broken"))

        with pytest.raises(OSError, match="broken"):
            await task
        assert task.cancelling() == 0

    async def test_that_raises_gives_way_to_a_cancellation_from_outside(
        self, client: Client, start: Any
    ) -> None:
        task = await start()

        client.said.put_nowait(OSError("broken"))
        await asyncio.sleep(0)
        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task


class TestPatience:
    async def test_is_had_before_anybody_listens(
        self, client: Client, start: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(disconnect, "PATIENCE", 0.5)
        client.hang_up()

        task = await start(at_once=False)

        assert not client.is_heard
        assert await task == "left"

    async def test_costs_a_short_request_no_task(
        self, client: Client, start: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(disconnect, "PATIENCE", 0.0)
        task = await start(lambda: asyncio.sleep(0), at_once=False)

        assert await task == "done"
        await asyncio.sleep(0.01)
        assert not client.is_heard
