"""The admin: headers, cookies, errors, and what there is when it is shut."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from megapolis import environment
from tests.megapolis.admin.conftest import MakeStaff, Staff

type Answer = tuple[int, dict[str, str], str]

VISIT = """
import asyncio, json, sys
import httpx
from megapolis.asgi import application

async def visit():
    transport = httpx.ASGITransport(application)
    async with httpx.AsyncClient(transport=transport, base_url="https://api.example.com") as http:
        return [await http.get(path) for path in sys.argv[1:]]

print(json.dumps([
    [r.status_code, r.headers.multi_items(), r.text[:300]] for r in asyncio.run(visit())
]))
"""


def visit(*paths: str, **variables: str) -> dict[str, Answer]:
    """What a service that was started with these variables answers over https."""
    process = subprocess.run(
        [sys.executable, "-c", VISIT, *paths],
        cwd=environment.BASE_DIR,
        env={
            "PATH": os.environ["PATH"],
            "ALLOWED_HOSTS": "api.example.com",
            "SECRET_KEY": "ksIyTjv1zG9kL4cWq7mXbN2rPaE8uHdS0fVoJ3gZ",
            "JWT_SECRET_KEY": "Qw5rTy8uIo1pAs4dFg7hJk0lZx3cVb6nMm9qWe2r",
            "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing",
            "SUPABASE_URL": "https://project.example.com",
            "API_DOCS_ENABLED": "true",
            "LOG_DIR": os.devnull,
            **variables,
        },
        capture_output=True,
        text=True,
        check=True,
    )
    answers = json.loads(process.stdout.splitlines()[-1])
    return {
        path: (status, dict(headers), text)
        for path, (status, headers, text) in zip(paths, answers, strict=True)
    }


@pytest.fixture(scope="module")
def in_production() -> dict[str, Answer]:
    """What a door answers in production, straight from a clone, with a database that is away."""
    return visit(
        "/admin/login/",
        "/admin/nothing/",
        "/static/admin/css/base.css",
        "/static/megapolis/admin.css",
        ENVIRONMENT="production",
    )


@pytest.fixture(scope="module")
def shut() -> dict[str, Answer]:
    """What there is with ADMIN_ENABLED=false."""
    paths = ("/admin/", "/admin", "/admin/login/", "/docs", "/static/ninja/swagger-ui.css")
    return visit(*paths, ENVIRONMENT="test", ADMIN_ENABLED="false")


class TestTheDoorInProduction:
    def test_is_strict(self, in_production: dict[str, Answer]) -> None:
        status, headers, _ = in_production["/admin/login/"]
        assert status == 200
        assert headers["strict-transport-security"].startswith("max-age=31536000")
        for part in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/admin/"):
            assert part in headers["set-cookie"]
        assert headers["x-frame-options"] == "DENY"
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy

    @pytest.mark.parametrize("path", ["/static/admin/css/base.css", "/static/megapolis/admin.css"])
    def test_has_its_static_files_without_any_preparation(
        self, path: str, in_production: dict[str, Answer]
    ) -> None:
        assert in_production[path][0] == 200

    def test_sends_strangers_to_sign_in_without_asking_the_database(
        self, in_production: dict[str, Answer]
    ) -> None:
        status, headers, _ = in_production["/admin/nothing/"]
        assert status == 302
        assert headers["location"].startswith("/admin/login/")

    def test_keeps_browsers_to_https_as_the_api_does_and_leaves_other_names_alone(
        self, in_production: dict[str, Answer]
    ) -> None:
        told = {answer[1]["strict-transport-security"] for answer in in_production.values()}
        assert told == {"max-age=31536000"}


class TestTheDoorShut:
    @pytest.mark.parametrize("path", ["/admin/", "/admin", "/admin/login/"])
    def test_is_as_if_it_were_not_there(self, path: str, shut: dict[str, Answer]) -> None:
        status, headers, _ = shut[path]
        assert status == 404
        assert headers["content-type"] == "application/problem+json"

    @pytest.mark.parametrize("path", ["/docs", "/static/ninja/swagger-ui.css"])
    def test_leaves_the_documentation_its_files(self, path: str, shut: dict[str, Answer]) -> None:
        assert shut[path][0] == 200


class TestTheLog:
    async def test_has_a_line_for_each_page_with_the_id_that_the_answer_carries(
        self, superuser: Staff, log: list[str]
    ) -> None:
        response = await superuser.get("/admin/")
        assert response.headers["x-request-id"]
        assert any("GET /admin/ 200" in line for line in log)


class TestErrors:
    async def test_are_pages_for_people(self, superuser: Staff) -> None:
        response = await superuser.get("/admin/nothing/")
        assert response.status_code == 404
        assert "There is nothing here" in response.text
        assert response.headers["content-type"].startswith("text/html")

    async def test_a_form_without_its_token_is_explained(self, superuser: Staff) -> None:
        response = await superuser.post("/admin/logout/", csrfmiddlewaretoken="x")
        assert response.status_code == 403
        assert "The form was too old" in response.text

    @pytest.mark.parametrize("path", ["/admin/", "/admin/accounts/user/"])
    async def test_an_outage_of_the_database_is_said_to_be_one(
        self, path: str, superuser: Staff, log: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*args: Any, **kwargs: Any) -> Any:
            from django.db import OperationalError

            raise OperationalError("connection refused")

        from django.db.backends.postgresql.base import DatabaseWrapper

        monkeypatch.setattr(DatabaseWrapper, "get_new_connection", refuse)
        response = await superuser.get(path)
        assert response.status_code == 503
        assert response.headers["retry-after"] == "5"
        assert "The database is away" in response.text
        assert "Traceback" not in "".join(log)

    async def test_so_is_one_that_begins_before_the_session_is_saved(
        self, make_staff: MakeStaff, visitor: Staff, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from django.contrib.sessions.backends.db import SessionStore
        from django.db import OperationalError

        save = SessionStore.save

        def refuse(self: Any, must_create: bool = False) -> None:
            if not must_create:
                raise OperationalError("connection refused")
            save(self, must_create)

        await make_staff("ada@example.com")
        monkeypatch.setattr(SessionStore, "save", refuse)
        response = await visitor.sign_in("ada@example.com")
        assert response.status_code == 503
        assert response.headers["retry-after"] == "5"
        assert "The database is away" in response.text
        assert "sessionid" not in visitor.http.cookies

    async def test_a_statement_that_was_given_up_is_no_outage(
        self, superuser: Staff, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from django.db import connection

        from accounts.admin import UserAdmin

        def sleep(self: Any, request: Any) -> Any:
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL statement_timeout = 1; SELECT pg_sleep(60)")

        monkeypatch.setattr(UserAdmin, "get_queryset", sleep)
        response = await superuser.get("/admin/accounts/user/")
        assert response.status_code == 503
        assert "This takes too long" in response.text

    async def test_a_broken_view_is_a_page_and_a_traceback_in_the_log(
        self, superuser: Staff, log: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from megapolis.admin import dashboard

        monkeypatch.setattr(dashboard, "panels", lambda *_: 1 / 0)
        response = await superuser.get("/admin/")
        assert response.status_code == 500
        assert "Something went wrong" in response.text
        assert "ZeroDivisionError" in "".join(log)


async def test_the_session_is_not_sent_to_the_api(superuser: Staff) -> None:
    cookies = [cookie for cookie in superuser.http.cookies.jar if cookie.name != "messages"]
    assert {cookie.path for cookie in cookies} == {"/admin/"}
