"""The API handler: what it answers, and what it does when something goes wrong."""

import json
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from megapolis.errors.exception_handler import AsyncView
from megapolis.http import api_handler
from megapolis.http.api_handler import ApiHandler
from tests.megapolis.asgi_request import AsgiRequest
from tests.megapolis.stock_urls import SECRET


class TestStockViews:
    @pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume synchronous")
    @pytest.mark.parametrize(
        "path", ["/sync", "/async", "/class/7", "/template", "/file", "/redirect", "/no-content"]
    )
    @pytest.mark.parametrize(
        ("method", "query", "body"),
        [("GET", b"", b""), ("GET", b"a=1&b=%C3%A9", b""), ("POST", b"", b'{"a": 1}')],
    )
    async def test_answer_as_behind_djangos_own_handler(
        self, settings: Any, path: str, method: str, query: bytes, body: bytes
    ) -> None:
        settings.ROOT_URLCONF = "tests.megapolis.stock_urls"
        settings.MIDDLEWARE = settings.API_MIDDLEWARE = []
        settings.API_HEADERS = {}
        exchanges = [AsgiRequest(path, method=method, query=query, body=body) for _ in range(2)]

        ours = await exchanges[0].run(ApiHandler())
        djangos = await exchanges[1].run(ASGIHandler())

        assert ours.status == djangos.status
        assert ours.is_complete
        if path != "/sync":  # which names its thread
            assert ours.content == djangos.content
        added = {} if path == "/no-content" else {"Content-Length": str(len(ours.content))}
        expected = {**added, **djangos.headers}
        if path == "/no-content":
            expected.pop("Content-Type")
        assert ours.headers == expected

    async def test_know_the_prefix_under_which_a_proxy_mounts_the_service(
        self, handler: Any
    ) -> None:
        exchange = AsgiRequest("/prefix/class/7")
        exchange.scope["root_path"] = "/prefix"

        await exchange.run(handler)

        assert json.loads(exchange.content)["here"] == "/prefix/class/7"

    async def test_refused_method_is_a_problem(self, handler: Any) -> None:
        exchange = await AsgiRequest("/only-get", method="PUT").run(handler)

        assert exchange.status == 405
        assert exchange.headers["Allow"] == "GET, HEAD, OPTIONS"
        assert exchange.problem["detail"] == "PUT is not supported here"

    async def test_may_say_the_length_themselves(self, handler: Any) -> None:
        exchange = AsgiRequest("/async")
        response = HttpResponse(b"four", headers={"Content-Length": "4"})

        await handler.send_response(response, exchange.send)

        assert exchange.headers["Content-Length"] == "4"
        assert [name for name, _ in exchange.sent[0]["headers"]].count(b"Content-Length") == 1


class TestExceptions:
    @pytest.mark.parametrize(
        ("path", "status"),
        [("404", 404), ("403", 403), ("400", 400), ("suspicious", 400), ("413", 413)],
    )
    async def test_of_django_are_problems(
        self, handler: Any, log: list[str], path: str, status: int
    ) -> None:
        exchange = await AsgiRequest(f"/{path}").run(handler)

        assert exchange.status == exchange.problem["status"] == status
        assert SECRET.encode() not in exchange.content
        assert not any("Traceback" in line for line in log)

    @pytest.mark.parametrize("path", ["/raises", "/sync-raises"])
    async def test_that_nobody_foresaw_are_logged_once_and_not_told(
        self, handler: Any, log: list[str], path: str
    ) -> None:
        exchange = await AsgiRequest(path).run(handler)

        [line] = [line for line in log if SECRET in line]
        assert line.startswith(f"ERROR GET {path} failed\n")
        assert "Traceback" in line
        assert exchange.problem == {
            "type": "about:blank",
            "title": "Internal Server Error",
            "status": 500,
            "detail": "Internal server error",
            "request_id": exchange.headers["X-Request-ID"],
        }

    async def test_of_a_view_that_returns_nothing(self, handler: Any, log: list[str]) -> None:
        exchange = await AsgiRequest("/nothing").run(handler)

        assert exchange.problem["status"] == 500
        assert any("returned None instead" in line for line in log)

    async def test_of_a_middleware_are_problems_too(self, settings: Any, log: list[str]) -> None:
        settings.ROOT_URLCONF = "tests.megapolis.stock_urls"
        settings.API_MIDDLEWARE = [
            f"{__name__}.broken_middleware",
        ]

        exchange = await AsgiRequest("/async").run(ApiHandler())

        assert exchange.problem["status"] == 500
        assert exchange.headers["X-Content-Type-Options"] == "nosniff"
        assert len([line for line in log if SECRET in line]) == 1

    async def test_reach_the_developer_if_the_settings_say_so(
        self, handler: Any, settings: Any
    ) -> None:
        settings.DEBUG_PROPAGATE_EXCEPTIONS = True

        with pytest.raises(RuntimeError, match=SECRET):
            await AsgiRequest("/raises").run(handler)


class TestRequest:
    async def test_with_a_foreign_host_is_refused(self, handler: Any) -> None:
        for host in ("evil.example", "a b", "127.0.0.1:x", ""):
            exchange = await AsgiRequest("/async", headers={"host": host}).run(handler)

            assert exchange.problem["status"] == 400, host

    async def test_may_have_as_many_hosts_as_are_allowed(
        self, handler: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.ALLOWED_HOSTS = [".example.com"]
        monkeypatch.setattr(api_handler, "KNOWN_HOSTS", 2)

        for name in ("a", "b", "c", "a", "c"):
            exchange = AsgiRequest("/async", headers={"host": f"{name}.example.com"})
            assert (await exchange.run(handler)).status == 200

        assert len(handler._known_hosts) == 2

    async def test_with_a_query_that_is_not_utf_8_is_refused(self, handler: Any) -> None:
        exchange = await AsgiRequest("/async", query=b"a=\xff").run(handler)

        assert exchange.problem["status"] == 400
        assert exchange.problem["detail"] == "The query string is not UTF-8"

    async def test_with_a_length_that_is_no_number_is_refused(self, handler: Any) -> None:
        exchange = AsgiRequest("/async", method="POST", headers={"content-length": "ten"})

        await exchange.run(handler)

        assert exchange.problem["status"] == 400

    async def test_is_what_middleware_leaves_out(self, settings: Any) -> None:
        settings.ROOT_URLCONF = "tests.megapolis.stock_urls"
        settings.API_MIDDLEWARE = [f"{__name__}.unused_middleware"]

        assert (await AsgiRequest("/async").run(ApiHandler())).status == 200


def broken_middleware(get_response: AsyncView) -> AsyncView:
    async def middleware(request: HttpRequest) -> HttpResponseBase:
        raise RuntimeError(SECRET)

    return middleware


def unused_middleware(get_response: AsyncView) -> AsyncView:
    from django.core.exceptions import MiddlewareNotUsed

    raise MiddlewareNotUsed
