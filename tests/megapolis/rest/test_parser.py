"""What a request may hold, for endpoints other than those that there are."""

from inspect import isawaitable
from typing import Any

import pytest
from django.http import HttpRequest
from django.test import AsyncRequestFactory
from ninja import Query, Router

from megapolis.rest.ninja_api import Api

api = Api(urls_namespace="parser")
router = Router()


@router.get("/many")
async def many(request: HttpRequest, tag: Query[list[str]], limit: int = 1) -> list[str]:
    """Take one parameter that may come more than once."""
    return tag


@router.get("/none")
async def none(request: HttpRequest) -> None:
    """Take nothing."""


@router.get("/plain")
def plain(request: HttpRequest, limit: int = 1) -> int:
    """Answer without being a coroutine."""
    return limit


@router.post("/body")
async def body(request: HttpRequest, numbers: list[int]) -> list[int]:
    """Take a body that is no object."""
    return numbers


api.add_router("", router)
VIEWS: dict[str, Any] = {str(pattern.pattern): pattern.callback for pattern in api.urls[0]}


async def get(path: str) -> int:
    request = AsyncRequestFactory().get(path)
    response = VIEWS[path[1:].partition("?")[0]](request)
    return int((await response if isawaitable(response) else response).status_code)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/many?tag=a&tag=b", 200),
        ("/many?tag=a&limit=1", 200),
        ("/many?tag=a&limit=1&limit=1", 422),
        ("/many?tag=a&tags=b", 422),
        ("/none", 200),
        ("/none?", 200),
        ("/none?x=1", 422),
        ("/plain?limit=2", 200),
        ("/plain?limits=2", 422),
    ],
)
async def test_a_parameter_is_known_and_comes_as_often_as_it_may(path: str, status: int) -> None:
    assert await get(path) == status


async def test_a_body_may_be_a_list() -> None:
    request = AsyncRequestFactory().post("/body", data="[1, 2]", content_type="application/json")

    response = await VIEWS["body"](request)

    assert response.content == b"[1,2]"
