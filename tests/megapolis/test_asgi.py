"""The ASGI application: its doors, its lifespan, and what it does not speak."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from megapolis import asgi, database
from tests.megapolis.exchange import Exchange


class TestDoors:
    @pytest.mark.parametrize(
        ("path", "door"),
        [
            ("/admin/", "staff_door"),
            ("/admin", "staff_door"),
            ("/static/x.css", "staff_door"),
            ("/", "api_door"),
            ("/administer", "api_door"),
            ("/staticx", "api_door"),
            ("/widgets/admin/", "api_door"),
        ],
    )
    async def test_are_told_apart_by_the_path(
        self, monkeypatch: pytest.MonkeyPatch, path: str, door: str
    ) -> None:
        opened: list[str] = []
        for name in ("staff_door", "api_door"):

            async def enter(*_: Any, name: str = name) -> None:
                opened.append(name)

            monkeypatch.setattr(asgi, name, enter)

        await Exchange(path).run(asgi.application)

        assert opened == [door]


class TestWebSocket:
    async def test_is_refused(self) -> None:
        exchange = Exchange("/widgets/")
        exchange.scope["type"] = "websocket"

        await exchange.run(asgi.application)

        assert exchange.sent == [{"type": "websocket.close", "code": 1000}]


class Lifespan:
    """What the application says to a server that starts and stops."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()
        self.task = asyncio.create_task(
            asgi.application({"type": "lifespan"}, self.messages.get, self.sent.put)
        )

    async def say(self, event: str) -> Mapping[str, Any]:
        self.messages.put_nowait({"type": f"lifespan.{event}"})
        return await self.sent.get()


@pytest.mark.usefixtures("open_pool")
class TestLifespan:
    async def test_opens_and_closes_the_pool(self) -> None:
        lifespan = Lifespan()

        assert await lifespan.say("startup") == {"type": "lifespan.startup.complete"}
        assert await database.fetch(b"SELECT 1", [], reads=True) == [(1,)]
        assert await lifespan.say("shutdown") == {"type": "lifespan.shutdown.complete"}

        await lifespan.task
        assert database._pool is None

    async def test_says_why_the_service_cannot_start(
        self, monkeypatch: pytest.MonkeyPatch, log: list[str]
    ) -> None:
        async def fail() -> None:
            raise RuntimeError("no folder")

        monkeypatch.setattr(database, "open_pool", fail)
        lifespan = Lifespan()

        message = await lifespan.say("startup")

        await lifespan.task
        assert message == {"type": "lifespan.startup.failed", "message": "no folder"}
        assert "The service cannot start" in log[0]
