"""The pages beside the endpoints: the way to the documentation, and the documentation."""

from typing import Any

import httpx
import pytest

from megapolis.urls import openapi_document

PAGES = {"/": 302, "/docs": 200, "/openapi.json": 200}


@pytest.mark.parametrize(("path", "status"), PAGES.items())
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_page_may_be_read(
    anonymous: httpx.AsyncClient, started_threads: list[str], path: str, status: int, method: str
) -> None:
    response = await anonymous.request(method, path)

    assert response.status_code == status
    assert started_threads == []


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "WEIRD"])
async def test_a_page_refuses_other_methods(
    anonymous: httpx.AsyncClient, started_threads: list[str], path: str, method: str
) -> None:
    response = await anonymous.request(method, path)

    problem: dict[str, Any] = response.json()
    assert problem["status"] == response.status_code == 405
    assert response.headers["Allow"] == "GET, HEAD, OPTIONS"
    assert started_threads == []


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_says_what_may_be_done_with_it(
    anonymous: httpx.AsyncClient, path: str
) -> None:
    response = await anonymous.options(path)

    assert (response.status_code, response.content) == (204, b"")
    assert response.headers["Allow"] == "GET, HEAD, OPTIONS"


def test_the_document_is_made_once() -> None:
    assert openapi_document() is openapi_document()
