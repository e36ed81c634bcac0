"""Requests to POST /auth/token that are not what it reads."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.accounts.conftest import Exchange


class TestRequest:
    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({}, "/body/access_token"),
            ({"access_token": ""}, "/body/access_token"),
            ({"access_token": None}, "/body/access_token"),
            ({"access_token": 1}, "/body/access_token"),
            ({"access_token": ["eyJ"]}, "/body/access_token"),
            ({"access_token": "eyJ", "refresh_token": "secret"}, "/body/refresh_token"),
            (["eyJ"], "/body"),
        ],
    )
    async def test_of_another_shape_is_422(
        self, exchange: Exchange, anonymous: httpx.AsyncClient, body: object, pointer: str
    ) -> None:
        response = await anonymous.post("/auth/token", json=body)

        assert response.status_code == 422
        assert response.headers["Content-Type"] == "application/problem+json"
        assert [error["pointer"] for error in response.json()["errors"]] == [pointer]
        assert "eyJ" not in response.text
        assert "secret" not in response.text

    async def test_that_is_no_json_is_refused(
        self, exchange: Exchange, anonymous: httpx.AsyncClient
    ) -> None:
        form = await anonymous.post("/auth/token", data={"access_token": "eyJ"})
        text = await anonymous.post(
            "/auth/token", content=b"eyJ", headers={"Content-Type": "application/json"}
        )
        assert (form.status_code, text.status_code) == (415, 400)

    @pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
    async def test_by_another_method_is_405(
        self, anonymous: httpx.AsyncClient, method: str
    ) -> None:
        response = await anonymous.request(method, "/auth/token")

        assert response.status_code == 405
        assert response.headers["Allow"] == "OPTIONS, POST"

    async def test_over_16_kib_is_413(
        self, exchange: Exchange, anonymous: httpx.AsyncClient
    ) -> None:
        response = await exchange("x" * 16 * 1024)

        assert response.status_code == 413
        assert response.headers["Content-Type"] == "application/problem+json"

    async def test_over_16_kib_is_413_before_the_rest_has_come(
        self, exchange: Exchange, anonymous: httpx.AsyncClient
    ) -> None:
        taken: list[int] = []

        async def stream() -> AsyncIterator[bytes]:
            for number in range(1000):
                taken.append(number)
                yield b"x" * 1024

        response = await anonymous.post("/auth/token", content=stream())

        assert response.status_code == 413
        assert len(taken) == 17

    async def test_of_16_kib_is_read(
        self, exchange: Exchange, anonymous: httpx.AsyncClient
    ) -> None:
        response = await exchange("x" * (16 * 1024 - len('{"access_token":""}')))
        assert response.status_code == 401
