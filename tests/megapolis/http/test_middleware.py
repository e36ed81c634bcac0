"""The middleware of the API handler."""

from typing import Any

import httpx
import pytest
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from megapolis import environment
from megapolis.http import disconnect
from tests.conftest import MakeClient
from tests.megapolis.asgi_request import AsgiRequest


async def ok(request: HttpRequest) -> HttpResponseBase:
    return HttpResponse()


class TestRequestContext:
    async def test_names_each_request_anew(self, anonymous: httpx.AsyncClient) -> None:
        first, second = [await anonymous.get("/nowhere") for _ in range(2)]

        assert first.headers["X-Request-ID"] != second.headers["X-Request-ID"]
        assert first.json()["request_id"] == first.headers["X-Request-ID"]

    @pytest.mark.parametrize(
        ("given", "kept"),
        [("abc-DEF_123", True), ("x" * 64, True), ("x" * 65, False), ("", False), ("-", False)]
        + [(bad, False) for bad in ("a b", "a;b", "ä", "²", "<script>", "a\tb")],
    )
    async def test_keeps_an_id_that_is_short_and_plain(
        self, anonymous: httpx.AsyncClient, given: str, kept: bool
    ) -> None:
        headers = [(b"X-Request-ID", given.encode("latin1"))]

        response = await anonymous.get("/nowhere", headers=headers)

        assert (response.headers["X-Request-ID"] == given) is kept

    async def test_writes_one_line_per_request(
        self, anonymous: httpx.AsyncClient, log: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(environment, "ACCESS_LOG", True)

        await anonymous.head("/nowhere?token=secret")

        [line] = log
        assert line.startswith("INFO HEAD /nowhere 404 ")
        assert "secret" not in line

    async def test_writes_one_of_a_request_whose_client_does_not_wait(
        self, handler: Any, db: None, log: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(environment, "ACCESS_LOG", True)
        monkeypatch.setattr(disconnect, "WATCH_AFTER", 0)

        await AsgiRequest("/query-then-wait").run_until_hang_up(handler)

        assert [line.split()[:4] for line in log] == [["INFO", "GET", "/query-then-wait", "499"]]

    async def test_writes_none_if_told_so(
        self, anonymous: httpx.AsyncClient, log: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(environment, "ACCESS_LOG", False)

        await anonymous.get("/nowhere")

        assert log == []


class TestSecurityHeaders:
    async def test_are_on_every_answer(self, anonymous: httpx.AsyncClient) -> None:
        for path in ("/nowhere", "/widgets", "/widgets/"):
            response = await anonymous.get(path)

            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Cache-Control"] == "no-store"
            assert "Strict-Transport-Security" not in response.headers

    async def test_leave_a_views_own_alone(self, anonymous: httpx.AsyncClient) -> None:
        response = await anonymous.get("/docs")

        assert "default-src 'self'" in response.headers["Content-Security-Policy"]

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/docs", 200),
            ("HEAD", "/docs", 200),
            ("OPTIONS", "/docs", 204),
            ("POST", "/docs", 405),
            ("GET", "/openapi.json", 200),
            ("GET", "/", 302),
            ("GET", "/widgets", 307),
            ("GET", "/widgets/", 401),
            ("GET", "/nowhere", 404),
            ("GET", "/livez", 200),
            ("GET", "/admin/login/", 200),
            ("GET", "/admin", 301),
            ("GET", "/admin/nothing/", 302),
            ("GET", "/static/nothing", 404),
            ("GET", "/static/ninja/swagger-ui.css", 200),
        ],
    )
    async def test_let_no_page_be_framed(
        self, anonymous: httpx.AsyncClient, method: str, path: str, status: int
    ) -> None:
        response = await anonymous.request(method, path)

        assert response.status_code == status
        assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["X-Frame-Options"] == "DENY"

    async def test_leave_the_documentation_its_own_files_alone(
        self, anonymous: httpx.AsyncClient
    ) -> None:
        policy = (await anonymous.get("/docs")).headers["Content-Security-Policy"]

        assert not {"http:", "https:", "*", "'unsafe-eval'"} & set(policy.replace(";", "").split())
        assert "script-src" not in policy
        for directive in ("object-src", "base-uri", "form-action"):
            assert f"{directive} 'none'" in policy


class TestAppendSlash:
    async def test_redirects_with_method_and_query(self, anonymous: httpx.AsyncClient) -> None:
        response = await anonymous.post("/widgets?limit=1", json={})

        assert response.status_code == 307
        assert response.headers["Location"] == "/widgets/?limit=1"

    @pytest.mark.parametrize("path", ["/widget", "/widgets/7/", "//evil.example", "/nowhere"])
    async def test_goes_nowhere_else(self, anonymous: httpx.AsyncClient, path: str) -> None:
        response = await anonymous.get(
            httpx.URL("http://127.0.0.1").copy_with(raw_path=path.encode())
        )

        assert response.status_code == 404

    async def test_leaves_a_404_of_a_view_alone(self, client: httpx.AsyncClient) -> None:
        assert (await client.get("/widgets/7")).status_code == 404


class TestMethods:
    async def test_options_names_them(self, anonymous: httpx.AsyncClient) -> None:
        collection = await anonymous.options("/widgets/")
        item = await anonymous.options("/widgets/7")

        assert (collection.status_code, collection.content) == (204, b"")
        assert collection.headers["Allow"] == "GET, HEAD, OPTIONS, POST"
        assert item.headers["Allow"] == "DELETE, GET, HEAD, OPTIONS, PATCH"

    @pytest.mark.parametrize("method", ["PUT", "TRACE", "BREW", "get"])
    async def test_others_are_refused(self, anonymous: httpx.AsyncClient, method: str) -> None:
        response = await anonymous.request(method, "/auth/logout")

        assert response.status_code == 405
        assert response.headers["Allow"] == "OPTIONS, POST"
        assert response.json()["detail"] == f"{method.upper()} is not supported here"

    async def test_head_is_refused_by_its_own_name(self, application: Any) -> None:
        exchange = await AsgiRequest("/auth/logout", method="HEAD").run(application)

        assert exchange.problem["detail"] == "HEAD is not supported here"

    async def test_head_is_get(self, make_client: MakeClient, user: Any) -> None:
        client = await make_client(user)

        head, get = await client.head("/widgets/"), await client.get("/widgets/")

        assert head.status_code == 200
        assert head.headers["Content-Length"] == get.headers["Content-Length"]
