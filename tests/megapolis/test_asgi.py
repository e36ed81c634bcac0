"""The ASGI application: its doors, its lifespan, and what it does not speak."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIHandler
from django.db import connections
from pytest_django import Settings

from megapolis import asgi, database, environment
from megapolis.database import execute
from megapolis.environment import limits
from megapolis.http import load_shedding
from tests.megapolis.asgi_request import AsgiRequest
from tests.waiting import eventually


class TestDoors:
    @pytest.mark.parametrize(
        ("path", "handler"),
        [
            ("/admin/", "admin_handler"),
            ("/admin", "admin_handler"),
            ("/static/x.css", "admin_handler"),
            ("/", "api_handler"),
            ("/administer", "api_handler"),
            ("/staticx", "api_handler"),
            ("/widgets/admin/", "api_handler"),
        ],
    )
    async def test_are_told_apart_by_the_path(
        self, monkeypatch: pytest.MonkeyPatch, path: str, handler: str
    ) -> None:
        opened: list[str] = []
        for name in ("admin_handler", "api_handler"):

            async def enter(*_: Any, name: str = name) -> None:
                opened.append(name)

            monkeypatch.setattr(asgi, name, enter)

        await AsgiRequest(path).run(asgi.application)

        assert opened == [handler]


def login(body: bytes | None, **headers: str) -> AsgiRequest:
    return AsgiRequest("/admin/login/", method="POST", headers=headers, body=body)


class TestStaffDoor:
    @pytest.fixture
    def seen(self, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
        """The bodies that came to the door, behind which there is an endless answer."""
        seen: list[bytes] = []

        async def handler(handler: Any, scope: Any, receive: Any, send: Any) -> None:
            seen.append((await receive())["body"])
            await receive()

        monkeypatch.setattr(ASGIHandler, "__call__", handler)
        return seen

    async def test_is_opened_to_a_whole_body_and_told_when_the_client_hangs_up(
        self, seen: list[bytes]
    ) -> None:
        exchange = login(None)
        exchange.say(b"name=", more=True)
        exchange.say(b"ann")
        exchange.hang_up()
        await exchange.run(asgi.application)

        assert seen == [b"name=ann"]

    @pytest.mark.parametrize("path", ["/admin/login/", "/static/x.css"])
    async def test_is_shut_to_large_bodies(self, seen: list[bytes], path: str) -> None:
        declared = {"content-length": str(limits.BODY_MAX_BYTES + 1)}
        early = AsgiRequest(path, method="POST", headers=declared, body=None)
        late = AsgiRequest(path, method="POST", body=None)
        for _ in range(3):
            late.say(b" " * (limits.BODY_MAX_BYTES // 2), more=True)

        for exchange in (early, late):
            await exchange.run(asgi.application)
            assert exchange.problem["status"] == 413
            assert exchange.headers["Connection"] == "close"
        assert seen == []

    async def test_does_not_count_who_has_not_sent_his_request(
        self, seen: list[bytes], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(load_shedding.staff, "limit", 1)
        slow, other = login(None), login(b"")
        slow.say(b"a", more=True)
        tasks = [asyncio.create_task(each.run(asgi.application)) for each in (slow, other)]
        await eventually(lambda: seen)

        assert seen == [b""]
        rejected = await login(b"").run(asgi.application)
        assert rejected.status == 503
        for each in (slow, other):
            each.hang_up()
        await asyncio.gather(*tasks)
        assert load_shedding.staff.in_flight == 0

    async def test_is_not_filled_by_readers_of_files(
        self, seen: list[bytes], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(load_shedding.staff, "limit", 1)
        monkeypatch.setattr(load_shedding.static, "limit", 1)
        readers = [AsgiRequest("/static/x.css"), AsgiRequest("/admin/")]
        tasks = [asyncio.create_task(reader.run(asgi.application)) for reader in readers]
        await eventually(lambda: len(seen) == 2)

        assert (await AsgiRequest("/static/x.css").run(asgi.application)).status == 503
        for reader in readers:
            reader.hang_up()
        await asyncio.gather(*tasks)


@pytest.mark.usefixtures("orm")
class TestConnectionOfStaff:
    def test_gives_up_a_statement_that_takes_too_long(self) -> None:
        with closing(connections["default"].copy()) as connection, connection.cursor() as cursor:
            cursor.execute("SHOW statement_timeout")
            assert cursor.fetchone() == (f"{limits.STATEMENT_TIMEOUT}s",)

    def test_is_told_nothing_behind_a_pooler(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(environment, "DATABASE_PREPARED_STATEMENTS", False)
        with closing(connections["default"].copy()) as connection, connection.cursor() as cursor:
            cursor.execute("SHOW statement_timeout")
            assert cursor.fetchone() == ("0",)


class TestContentType:
    @pytest.mark.parametrize("value", ["x; charset*=x''%FF", "x; charset*=x''%00"])
    @pytest.mark.parametrize("path", ["/admin/login/", "/static/x.css", "/widgets/", "/nowhere"])
    async def test_that_is_malformed_is_a_400_at_every_door(
        self, db: None, path: str, value: str, log: list[str]
    ) -> None:
        headers = {"content-type": value}

        exchange = await AsgiRequest(path, method="POST", headers=headers).run(asgi.application)

        assert exchange.status == 400
        assert "Traceback" not in "".join(log)


class TestWebSocket:
    async def test_is_refused(self) -> None:
        exchange = AsgiRequest("/widgets/")
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


feature_steps: list[str] = []


@asynccontextmanager
async def feature_open() -> AsyncIterator[None]:
    """A feature's part of the lifespan."""
    feature_steps.append("entered")
    yield
    feature_steps.append("left")


@pytest.mark.usefixtures("open_pool")
class TestLifespan:
    async def test_opens_and_closes_the_pool(self) -> None:
        lifespan = Lifespan()

        assert await lifespan.say("startup") == {"type": "lifespan.startup.complete"}
        assert await database.fetch(b"SELECT 1", [], reads=True) == [(1,)]
        assert await lifespan.say("shutdown") == {"type": "lifespan.shutdown.complete"}

        await lifespan.task
        assert execute._pool is None

    async def test_enters_and_leaves_the_parts_of_features(self, settings: Settings) -> None:
        settings.API_LIFESPAN = [f"{__name__}.feature_open"]
        lifespan = Lifespan()

        await lifespan.say("startup")
        assert feature_steps == ["entered"]
        await lifespan.say("shutdown")
        assert feature_steps == ["entered", "left"]

        await lifespan.task

    async def test_says_why_the_service_cannot_start(
        self, monkeypatch: pytest.MonkeyPatch, log: list[str]
    ) -> None:
        async def fail() -> None:
            raise RuntimeError("no folder")

        monkeypatch.setattr(execute, "open_pool", fail)
        lifespan = Lifespan()

        message = await lifespan.say("startup")

        await lifespan.task
        assert message == {"type": "lifespan.startup.failed", "message": "no folder"}
        assert "The service cannot start" in log[0]
