"""What a request costs, counted in what no other process on the machine can disturb.

A failure says that a change has made requests dearer. Make it cheaper, or raise the bound in the
same commit and say there what the price buys. A bound is what was counted, or 3 % above it.
"""

import asyncio
import gc
import selectors
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings, settings

from megapolis import database, environment
from megapolis.database.pool import Pool
from megapolis.database.wire import Connection
from tests import factories
from tests.megapolis.asgi_request import AsgiRequest

ROWS = 101
"""One more than the longest page, so that pages of every length have a cursor."""
WARM = 3
"""Requests after which every cache is filled and every statement is prepared."""
MEASURED = 10
"""Requests of which the cheapest counts. One in nine gets its responses in two parts, and more on a
busy machine: then the socket is read twice, which is 16 calls more."""
BOUNDS = {
    "get": {"calls": 236, "settings": 2, "tasks": 1},
    "list 20": {"calls": 277, "settings": 4, "tasks": 1},
    "list 100": {"calls": 277, "settings": 4, "tasks": 1},
    "post": {"calls": 266, "settings": 6, "tasks": 0},
}
"""By request: Python functions entered or gone on with, and reads of Django's settings."""
ALWAYS = {"round trips": 2, "connections": 2, "threads": 0, "messages": 2}
"""One statement for who it is, and one for what is asked for. ASGI's answer is two messages."""

NOISE = (str(Path(asyncio.__file__).parent), selectors.__file__, __file__)
"""Not counted: how often the event loop turns depends on how the bytes arrive."""

type Send = Callable[[], Awaitable[AsgiRequest]]


class Meter:
    """Counts what happens while it is on."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.functions: Counter[str] = Counter()

    def counting(self, what: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, whose calls are counted."""

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.counts[what] += 1
            return function(*args, **kwargs)

        return counted

    def profile(self, frame: Any, event: str, _: Any) -> None:
        """Count a call of Python, as `sys.setprofile` tells it."""
        file, name = frame.f_code.co_filename, frame.f_code.co_qualname
        if event == "call" and not file.startswith(NOISE):
            self.counts["calls"] += 1
            self.functions[f"{name} ({file})"] += 1

    @contextmanager
    def on(self) -> Iterator[None]:
        """Count inside."""
        loop = asyncio.get_running_loop()
        with pytest.MonkeyPatch.context() as patch:
            for what, owner, name in (
                ("round trips", Connection, "_result"),
                ("connections", Pool, "acquire"),
                ("threads", threading.Thread, "start"),
                ("settings", LazySettings, "__getattribute__"),
            ):
                patch.setattr(owner, name, self.counting(what, getattr(owner, name)))
            loop.set_task_factory(self.counting("tasks", _new_task))
            gc.disable()  # What it would finalize is no part of the request.
            sys.setprofile(self.profile)
            try:
                yield
            finally:
                sys.setprofile(None)
                gc.enable()
                loop.set_task_factory(None)


def _new_task(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
    return asyncio.Task(work, loop=loop, **options)


@pytest.fixture
async def requests(
    application: Any, make_widget: Any, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Send]:
    """How each request is sent; as in the benchmarks, without a line in the log."""
    monkeypatch.setattr(environment, "ACCESS_LOG", False)
    user = await factories.make_user()
    authorization = {"authorization": f"Bearer {await factories.make_token(user)}"}
    widgets = [await make_widget(user) for _ in range(ROWS)]
    json = authorization | {"content-type": "application/json"}
    names = iter(range(10_000))

    def get(path: str, query: bytes = b"") -> Send:
        return lambda: AsgiRequest(path, query=query, headers=authorization).run(application)

    def post() -> Awaitable[AsgiRequest]:
        body = b'{"name": "New %d"}' % next(names)
        return AsgiRequest("/widgets/", method="POST", headers=json, body=body).run(application)

    return {
        "get": get(f"/widgets/{widgets[0].id}"),
        "list 20": get("/widgets/", b"limit=20"),
        "list 100": get("/widgets/", b"limit=100"),
        "post": post,
    }


async def measure(send: Send) -> Meter:
    """Return the cheapest, as some responses of PostgreSQL come in two parts."""
    meters = []
    for number in range(WARM + MEASURED):
        meter = Meter()
        with meter.on():
            exchange = await send()
        assert exchange.status in {200, 201}
        meter.counts["messages"] = len(exchange.sent)
        if number >= WARM:
            meters.append(meter)
    return min(meters, key=lambda meter: meter.counts["calls"])


@pytest.mark.parametrize("name", BOUNDS)
async def test_a_request_costs_no_more_than_it_did(requests: dict[str, Send], name: str) -> None:
    meter = await measure(requests[name])

    for what, bound in {**ALWAYS, **BOUNDS[name]}.items():
        assert meter.counts[what] <= bound, (
            f"`{name}` costs {meter.counts[what]} {what}, at most {bound} were expected. "
            f"Called most often: {meter.functions.most_common(20)}"
        )


async def test_rows_cost_no_calls_of_python(requests: dict[str, Send]) -> None:
    short, long = await measure(requests["list 20"]), await measure(requests["list 100"])

    more = long.functions - short.functions
    assert more.total() < 20, f"80 rows more cost {more.total()} calls: {more.most_common(20)}"


async def leaves(work: Callable[[], Awaitable[Any]]) -> int:
    """Return how many objects the collector finds after it has been done a hundred times."""
    for _ in range(WARM):
        await work()
    gc.collect()
    gc.disable()
    try:
        for _ in range(100):
            await work()
        return gc.collect()
    finally:
        gc.enable()


@pytest.mark.parametrize("name", BOUNDS)
async def test_a_request_leaves_nothing_to_the_garbage_collector(
    requests: dict[str, Send], name: str
) -> None:
    assert await leaves(requests[name]) == 0


async def test_the_garbage_collector_finds_what_a_request_would_leave() -> None:
    async def work() -> None:
        cycle: list[Any] = []
        cycle.append(cycle)

    assert await leaves(work) >= 100


async def test_what_is_counted_does_count(requests: dict[str, Send]) -> None:
    meter = Meter()

    with meter.on():
        await asyncio.create_task(asyncio.sleep(0))
        thread = threading.Thread(target=lambda: settings.DEBUG)
        thread.start()
        thread.join()
        await database.fetch(b"SELECT 1", [], reads=True)

    assert {name: meter.counts[name] > 0 for name in {**ALWAYS, **BOUNDS["get"]}} == {
        "round trips": True, "connections": True, "threads": True, "tasks": True,
        "messages": False, "calls": True, "settings": True,
    }  # fmt: skip
