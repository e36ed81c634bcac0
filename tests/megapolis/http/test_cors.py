"""Which browsers' scripts may read answers: those of the allowed origins, and errors too."""

from typing import Any

import pytest

from megapolis.settings import API_HEADERS
from tests.megapolis.asgi_request import AsgiRequest
from tests.megapolis.conftest import ALLOWED

FOREIGN = {
    "another": "https://evil.example",
    "none in particular": "null",
    "a longer host": f"{ALLOWED}.evil.example",
    "a shorter host": "https://example.com",
    "another scheme": "http://app.example.com",
    "another port": f"{ALLOWED}:8443",
    "another case": "https://APP.example.com.",
    "a wildcard": "*",
}
ERRORS = {"/nowhere": 404, "/raises": 500, "/403": 403, "/only-get": 405}


def allowing(answer: AsgiRequest) -> dict[str, str]:
    return {name: x for name, x in answer.headers.items() if name.startswith("access-control-")}


class TestAllowedOrigin:
    async def test_is_named_exactly_and_without_credentials(self, cors_handler: Any) -> None:
        answer = await AsgiRequest("/async", headers={"origin": ALLOWED}).run(cors_handler)

        assert answer.headers["access-control-allow-origin"] == ALLOWED
        assert "access-control-allow-credentials" not in answer.headers
        assert "origin" in answer.headers["Vary"].lower()

    @pytest.mark.parametrize(("path", "status"), ERRORS.items())
    async def test_may_read_errors_which_have_every_header(
        self, cors_handler: Any, path: str, status: int
    ) -> None:
        request = AsgiRequest(path, method="DELETE", headers={"origin": ALLOWED})
        answer = await request.run(cors_handler)

        assert answer.problem["status"] == status
        assert answer.headers["access-control-allow-origin"] == ALLOWED
        assert API_HEADERS.items() <= answer.headers.items()

    async def test_may_ask_beforehand_without_a_token_or_a_query(
        self, cors_handler: Any, started_threads: list[str]
    ) -> None:
        headers = {
            "origin": ALLOWED,
            "access-control-request-method": "PATCH",
            "access-control-request-headers": "authorization",
        }
        preflight = AsgiRequest("/backend", method="OPTIONS", headers=headers)
        answer = await preflight.run(cors_handler)  # there is no database

        assert answer.status == 200
        assert answer.headers["access-control-allow-origin"] == ALLOWED
        assert "PATCH" in answer.headers["access-control-allow-methods"]
        assert "authorization" in answer.headers["access-control-allow-headers"]
        assert started_threads == []


class TestForeignOrigin:
    @pytest.mark.parametrize("origin", FOREIGN.values(), ids=FOREIGN)
    @pytest.mark.parametrize("path", ["/async", "/nowhere"])
    async def test_is_told_nothing(self, cors_handler: Any, origin: str, path: str) -> None:
        answer = await AsgiRequest(path, headers={"origin": origin}).run(cors_handler)

        assert allowing(answer) == {}
        assert "origin" in answer.headers["Vary"].lower()


class TestPath:
    async def test_with_control_characters_is_one_line_of_the_log(
        self, handler: Any, log: list[str]
    ) -> None:
        exchange = AsgiRequest(
            "/a\r\nERROR forged\x1b[2J\u2028", headers={"user-agent": "\x1b[31m"}
        )
        await exchange.run(handler)

        [line] = [line for line in log if "GET /a" in line]
        assert r"/a\r\nERROR forged\x1b[2J\u2028" in line
        assert not set("\r\x1b\u2028") & set(line)
