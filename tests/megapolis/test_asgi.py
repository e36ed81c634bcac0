"""The ASGI application: its doors, its lifespan, and what it does not speak."""

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from megapolis import asgi, database
from tests.megapolis.exchange import Exchange


class TestDoors:
    @pytest.mark.parametrize("path", ["/admin/", "/admin", "/static/nothing.css"])
    async def test_of_staff_leads_to_djangos_own_handler(
        self, anonymous: httpx.AsyncClient, orm: None, path: str
    ) -> None:
        response = await anonymous.get(path)

        assert "X-Request-ID" not in response.headers
        assert response.headers["Content-Type"].startswith("text/html")

    @pytest.mark.parametrize("path", ["/", "/administer", "/staticx", "/widgets/"])
    async def test_of_the_api_is_for_everything_else(
        self, anonymous: httpx.AsyncClient, path: str
    ) -> None:
        assert "X-Request-ID" in (await anonymous.get(path)).headers


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
