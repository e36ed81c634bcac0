"""The API as a client sees it that writes to its socket whatever it likes.

`test_protocol.py` has what is refused before it reaches the application: ambiguous and large heads.
"""

import gzip
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from megapolis.database import execute
from megapolis.environment import limits
from megapolis.settings import API_HEADERS
from tests.megapolis.conftest import ALLOWED
from tests.megapolis.http.test_cors import ERRORS, FOREIGN
from tests.megapolis.server.raw_client import Answer, Ask, asking, served

BODY = b'{"name": "Sprocket"}'
JSON = "Content-Type: application/json"
REVEALING = re.compile(
    r"\d\.\d|Traceback|File|SELECT|/megapolis|\.py|uvicorn|django|ninja|psycopg|python",
    re.IGNORECASE,
)
METHODS = {
    "/widgets/": "GET, HEAD, OPTIONS, POST",
    "/widgets/7": "DELETE, GET, HEAD, OPTIONS, PATCH",
}
ANSWERS: dict[str, tuple[str, bytes, int]] = {
    "a page": ("GET /widgets/", b"", 200),
    "a created widget": ("POST /widgets/", BODY, 201),
    "the methods": ("OPTIONS /widgets/", b"", 204),
    "a redirect": ("GET /widgets", b"", 307),
    "a private page": ("GET /auth/me", b"", 200),
    "a missing widget": ("GET /widgets/7", b"", 404),
    "an unknown path": ("GET /a/../../etc/passwd", b"", 404),
    "a wrong method": ("DELETE /widgets/", b"", 405),
    "a body too large": ("POST /widgets/", b" " * (limits.BODY_MAX_BYTES + 1), 413),
    "an invalid name": ("POST /widgets/", b'{"name": ""}', 422),
    "liveness": ("GET /livez", b"", 200),
}


@pytest.fixture
async def ask(application: Any, db: None) -> AsyncIterator[Ask]:
    """`await ask("GET /widgets/", "Name: value", body=b"")` asks on a connection of its own."""
    async with served(application) as server:
        yield asking(server)


@pytest.fixture
async def ask_door(handler: Any, db: None) -> AsyncIterator[Ask]:
    """The same of ordinary views, some of which raise."""
    async with served(handler) as server:
        yield asking(server)


@pytest.fixture
async def ask_from(cors_handler: Any, db: None) -> AsyncIterator[Ask]:
    """The same of a service that allows an origin."""
    async with served(cors_handler) as server:
        yield asking(server)


@pytest.fixture
async def bearer(make_token: Any, user: Any) -> str:
    return f"Authorization: Bearer {await make_token(user)}"


def problem(answer: Answer, status: int) -> dict[str, Any]:
    """Return the problem that it is, in which nothing of the inside is told."""
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = json.loads(answer.body)
    assert told["status"] == status
    told.pop("request_id", None)
    assert not REVEALING.search(json.dumps(told)), told
    assert "server" not in answer.headers
    return told


class TestUnauthorized:
    async def test_without_a_token_is_told_no_error_code(self, ask: Ask) -> None:
        answer = await ask("GET /widgets/")

        problem(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"

    @pytest.mark.parametrize("token", ["x", "a.b.c", "é", "x" * 5000])
    async def test_with_a_bad_token_is_told_that_it_is_invalid(self, ask: Ask, token: str) -> None:
        answer = await ask("GET /widgets/", f"Authorization: Bearer {token}")

        problem(answer, 401)
        assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'


class TestError:
    @pytest.mark.parametrize("path", METHODS)
    async def test_of_the_wrong_method_names_the_right_ones(self, ask: Ask, path: str) -> None:
        answer = await ask(f"PUT {path}", JSON, body=BODY)

        problem(answer, 405)
        assert answer.headers["allow"] == METHODS[path]

    @pytest.mark.parametrize("path", ["/nowhere", "/widgets/7/8", "//", "/%00", "/%ff", "/a/../b"])
    async def test_of_an_unknown_path_is_a_problem(self, ask: Ask, path: str) -> None:
        problem(await ask(f"GET {path}"), 404)

    @pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "[::", "a b", "/"])
    async def test_of_another_host_is_a_problem(self, ask: Ask, host: str) -> None:
        told = problem(await ask("GET /widgets/", host=host), 400)

        assert "evil" not in json.dumps(told)

    async def test_of_a_large_body_is_a_problem(self, ask: Ask, bearer: str) -> None:
        body = b" " * (limits.BODY_MAX_BYTES + 1)

        problem(await ask("POST /widgets/", bearer, JSON, body=body), 413)

    async def test_that_nobody_foresaw_is_a_problem(self, ask_door: Ask) -> None:
        told = problem(await ask_door("GET /raises"), 500)

        assert "the-cause-of-it" not in json.dumps(told)


class TestMethod:
    async def test_head_is_get_without_the_body(self, ask: Ask, bearer: str) -> None:
        head = await ask("HEAD /widgets/", bearer)
        got = await ask("GET /widgets/", bearer)

        assert (head.status, head.body) == (200, b"")
        assert head.headers["content-length"] == str(len(got.body))

    @pytest.mark.parametrize("path", METHODS)
    async def test_options_needs_no_token_and_no_query(self, ask: Ask, path: str) -> None:
        with pytest.MonkeyPatch.context() as without_a_database:
            without_a_database.setattr(execute, "_pool", None)
            answer = await ask(f"OPTIONS {path}")

        assert (answer.status, answer.headers["allow"]) == (204, METHODS[path])
        assert "content-length" not in answer.headers


class TestBody:
    @pytest.mark.parametrize(
        "headers",
        [
            [],
            ["Content-Type: text/plain"],
            ["Content-Type: application/x-www-form-urlencoded"],
            ["Content-Type: application/json; charset=utf-16"],
            [JSON, "Content-Encoding: gzip"],
            [JSON, "Content-Encoding: br"],
        ],
    )
    async def test_that_is_no_json_or_compressed_is_415(
        self, ask: Ask, bearer: str, headers: list[str]
    ) -> None:
        body = gzip.compress(BODY) if headers[1:] else BODY

        problem(await ask("POST /widgets/", bearer, *headers, body=body), 415)

    @pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-8-sig"])
    async def test_in_another_encoding_is_400(self, ask: Ask, bearer: str, encoding: str) -> None:
        body = BODY.decode().encode(encoding)

        problem(await ask("POST /widgets/", bearer, JSON, body=body), 400)


class TestEveryAnswer:
    @pytest.mark.parametrize(("start", "body", "status"), ANSWERS.values(), ids=ANSWERS)
    async def test_has_the_headers_and_no_name_of_the_server(
        self, ask: Ask, bearer: str, start: str, body: bytes, status: int
    ) -> None:
        answer = await ask(start, bearer, JSON, body=body)

        assert answer.status == status
        assert {k.lower(): v for k, v in API_HEADERS.items()}.items() <= answer.headers.items()
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers
        assert "x-powered-by" not in answer.headers


class TestOrigin:
    @pytest.mark.parametrize(("path", "status"), {"/async": 200, **ERRORS}.items())
    async def test_that_is_allowed_is_named_exactly_on_errors_too(
        self, ask_from: Ask, path: str, status: int
    ) -> None:
        answer = await ask_from(f"DELETE {path}", f"Origin: {ALLOWED}")

        assert answer.status == status
        assert answer.headers["access-control-allow-origin"] == ALLOWED
        assert "origin" in answer.headers["vary"].lower()

    @pytest.mark.parametrize("origin", FOREIGN.values(), ids=FOREIGN)
    @pytest.mark.parametrize("path", ["/async", "/nowhere"])
    async def test_that_is_foreign_is_told_nothing(
        self, ask_from: Ask, origin: str, path: str
    ) -> None:
        answer = await ask_from(f"GET {path}", f"Origin: {origin}")

        assert not [name for name in answer.headers if name.startswith("access-control-")]
        assert "origin" in answer.headers["vary"].lower()

    async def test_may_ask_beforehand_without_a_token_or_a_query(self, ask_from: Ask) -> None:
        method = "Access-Control-Request-Method: PATCH"
        with pytest.MonkeyPatch.context() as without_a_database:
            without_a_database.setattr(execute, "_pool", None)
            answer = await ask_from("OPTIONS /backend", f"Origin: {ALLOWED}", method)

        assert answer.status == 200
        assert answer.headers["access-control-allow-origin"] == ALLOWED


class TestForwarded:
    async def test_from_a_stranger_changes_nothing(self, ask: Ask) -> None:
        """`tests/accounts/test_throttle.py` has the address, and who is believed."""
        told = (
            "X-Forwarded-Host: evil.example",
            "X-Forwarded-Proto: https",
            "Forwarded: host=evil",
        )
        answer = await ask("GET /widgets", *told)

        assert (answer.status, answer.headers["location"]) == (307, "/widgets/")
        problem(await ask("GET /widgets/", *told, host="evil.example"), 400)


class TestLog:
    async def test_has_one_escaped_line_whatever_is_sent(
        self, ask: Ask, bearer: str, log: list[str]
    ) -> None:
        path = "/a%0d%0aERROR%20forged%1b[2J%e2%80%a8"
        await ask(f"GET {path}", "User-Agent: \x1b[31m", "X-Request-ID: \x1b[31m")
        await ask("POST /widgets/", bearer, JSON, body=rb'{"name": "a\r\nERROR forged\u001b[2J"}')

        lines = [line for line in log if "GET /a" in line or "POST /widgets/" in line]
        assert [line.count("\n") for line in lines] == [2, 2]  # the format's own
        assert not set("\r\x1b\u2028") & set("".join(log))
        assert not [line for line in log if "\nERROR" in line]
