"""What the OpenAPI document promises of accounts, and that nobody gets in without a token."""

from typing import Any

import httpx
import pytest

from megapolis.api import api

STATUSES = {
    ("post", "/auth/token"): {200, 401, 403, 409, 413, 422, 429, 503},
    ("get", "/auth/me"): {200, 401, 503},
    ("get", "/auth/sessions/"): {200, 401, 422, 503},
    ("delete", "/auth/sessions/{session_id}"): {204, 401, 404, 422, 503},
    ("post", "/auth/logout"): {204, 401, 503},
    ("post", "/auth/logout-everywhere"): {204, 401, 503},
}
DOCUMENT = api.get_openapi_schema()
OPERATIONS = {
    (method, path): operation
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}
PRIVATE = sorted(set(OPERATIONS) - {("post", "/auth/token")})


class TestDocument:
    def test_has_these_operations_under_auth(self) -> None:
        assert {key for key in OPERATIONS if key[1].startswith("/auth")} == set(STATUSES)

    @pytest.mark.parametrize("key", STATUSES, ids=" ".join)
    def test_declares_what_it_answers(self, key: tuple[str, str]) -> None:
        declared = {int(status) for status in OPERATIONS[key]["responses"]}
        assert declared >= STATUSES[key]
        assert {status for status in declared if status < 300} == {min(STATUSES[key])}

    def test_asks_for_a_token_everywhere_but_at_the_exchange(self) -> None:
        open_to_all = {key for key, operation in OPERATIONS.items() if "security" not in operation}
        assert open_to_all == {("post", "/auth/token")}

    def test_says_how_a_token_is_sent(self) -> None:
        schemes = DOCUMENT["components"]["securitySchemes"]
        assert schemes == {"JWTAuth": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}


class TestEveryEndpoint:
    @pytest.mark.parametrize("key", PRIVATE, ids=" ".join)
    @pytest.mark.parametrize("body", [None, {"name": 1}])
    async def test_refuses_a_stranger_before_it_looks_at_anything_else(
        self, anonymous: httpx.AsyncClient, queries: list[bytes], key: tuple[str, str], body: Any
    ) -> None:
        method, path = key
        url = path.replace("{session_id}", "x").replace("{widget_id}", "x")
        response = await anonymous.request(method, url, json=body)

        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert response.headers["Content-Type"] == "application/problem+json"
        assert queries == []
