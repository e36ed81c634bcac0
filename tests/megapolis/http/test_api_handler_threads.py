"""The API handler starts no thread, and cleans up after views that do."""

import json
import threading
from typing import Any

import httpx
import psycopg
import pytest
from django.core import signals

from tests.megapolis.asgi_request import AsgiRequest
from tests.megapolis.http.test_api_handler_signals import connected
from tests.waiting import eventually_equals
from widgets import services

CALLS: list[tuple[str, bytes | None, int]] = [
    ("GET /", None, 302),
    ("GET /docs", None, 200),
    ("GET /openapi.json", None, 200),
    ("GET /auth/me", None, 200),
    ("GET /auth/sessions/", None, 200),
    ("GET /widgets/", None, 200),
    ("GET /widgets/?search=Spr&owner=me&order=-name", None, 200),
    ("GET /widgets", None, 307),
    ("GET /widgets/{id}", None, 200),
    ("HEAD /widgets/{id}", None, 200),
    ("OPTIONS /widgets/{id}", None, 204),
    ("POST /widgets/", b'{"name": "Cog"}', 201),
    ("POST /widgets/", b'{"name": "Sprocket"}', 400),
    ("POST /widgets/", b'{"nom": "Cog"}', 422),
    ("POST /widgets/", b'{"name": "Cog"', 400),
    ("POST /widgets/", b" " * 1_100_000, 413),
    ("PATCH /widgets/{id}", b'{"name": "Cog"}', 200),
    ("PUT /widgets/{id}", b"{}", 405),
    ("DELETE /widgets/{id}", None, 204),
    ("GET /widgets/999999", None, 404),
    ("GET /nowhere", None, 404),
    ("GET /widgets/?limit=0", None, 422),
]


async def until_gone(observer: "psycopg.AsyncConnection[Any]", pid: int) -> None:
    """Return when a connection is closed; PostgreSQL may take a moment to notice."""

    async def found() -> list[Any]:
        cursor = await observer.execute("SELECT FROM pg_stat_activity WHERE pid = %s", [pid])
        return await cursor.fetchall()

    await eventually_equals(found, [])


class TestContract:
    @pytest.mark.parametrize(("call", "body", "status"), CALLS)
    async def test_starts_no_thread(
        self,
        client: httpx.AsyncClient,
        started_threads: list[str],
        call: str,
        body: bytes | None,
        status: int,
    ) -> None:
        widget = (await client.post("/widgets/", json={"name": "Sprocket"})).json()
        method, path = call.format(**widget).split()
        headers = {"Content-Type": "application/json"}

        response = await client.request(method, path, content=body, headers=headers)

        assert response.status_code == status, response.text
        assert started_threads == []

    async def test_starts_no_thread_for_a_preflight_or_without_a_token_or_host(
        self, anonymous: httpx.AsyncClient, started_threads: list[str]
    ) -> None:
        origin = {"Origin": "https://x.example", "Access-Control-Request-Method": "GET"}

        assert (await anonymous.options("/widgets/", headers=origin)).status_code == 204
        assert (await anonymous.get("/widgets/")).status_code == 401
        assert (await anonymous.get("/", headers={"Host": "evil.example"})).status_code == 400
        assert started_threads == []

    async def test_starts_no_thread_to_fail(
        self,
        client: httpx.AsyncClient,
        started_threads: list[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        async def broken(**_: object) -> None:
            raise RuntimeError

        monkeypatch.setattr(services, "get_widget", broken)

        assert (await client.get("/widgets/1")).status_code == 500
        assert started_threads == []

    async def test_does_so_where_a_view_does_not(
        self, handler: Any, started_threads: list[str]
    ) -> None:
        await AsgiRequest("/sync").run(handler)

        assert started_threads


class TestViewWithThread:
    @pytest.mark.usefixtures("orm")
    @pytest.mark.parametrize("path", ["/orm", "/orm-in-async"])
    async def test_gets_its_connection_closed(
        self, handler: Any, observer: "psycopg.AsyncConnection[Any]", path: str
    ) -> None:
        exchange = await AsgiRequest(path).run(handler)

        pid = json.loads(exchange.content)["pid"]
        await until_gone(observer, pid)

    @pytest.mark.usefixtures("orm")
    async def test_hears_in_it_that_the_request_is_finished(self, handler: Any) -> None:
        threads: list[int] = []

        def receiver(**_: Any) -> None:
            threads.append(threading.get_ident())

        with connected(signals.request_finished, receiver):
            exchange = await AsgiRequest("/orm").run(handler)

        assert threads == [json.loads(exchange.content)["thread"]]

    @pytest.mark.usefixtures("orm")
    async def test_gets_its_connection_closed_if_the_client_hangs_up(
        self, handler: Any, observer: "psycopg.AsyncConnection[Any]"
    ) -> None:
        exchange = AsgiRequest("/orm-then-wait")

        pid = await exchange.run_until_hang_up(handler)

        assert exchange.sent == []
        await until_gone(observer, pid)
