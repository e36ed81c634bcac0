"""The system check that keeps threads out of the API handler."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from asgiref.sync import markcoroutinefunction
from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpRequest, HttpResponse

from megapolis.http.checks import check_api_middleware


def function_middleware(get_response: Any) -> Callable[[HttpRequest], Awaitable[HttpResponse]]:
    async def middleware(request: HttpRequest) -> HttpResponse:
        raise AssertionError

    return middleware


class ClassMiddleware:
    async_capable = True

    def __init__(self, get_response: Any) -> None:
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        raise AssertionError


class ClassWithHook(ClassMiddleware):
    async def process_view(self, *_: Any) -> None:
        raise AssertionError


def unused(get_response: Any) -> None:
    raise MiddlewareNotUsed


def sync_middleware(get_response: Any) -> Callable[[HttpRequest], HttpResponse]:
    def middleware(request: HttpRequest) -> HttpResponse:
        raise AssertionError

    return middleware


class TestApiMiddleware:
    def test_of_the_project_is_native(self) -> None:
        assert check_api_middleware(None) == []

    @pytest.mark.parametrize("name", ["function_middleware", "ClassMiddleware", "unused"])
    def test_may_be_a_function_or_a_class_or_unused(self, settings: Any, name: str) -> None:
        settings.API_MIDDLEWARE = [f"{__name__}.{name}"]

        assert check_api_middleware(None) == []

    @pytest.mark.parametrize(
        "path",
        [
            f"{__name__}.sync_middleware",
            "django.middleware.common.CommonMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
        ],
    )
    def test_that_hops_into_a_thread_is_an_error(self, settings: Any, path: str) -> None:
        settings.API_MIDDLEWARE = [path]

        [error] = check_api_middleware(None)

        assert error.id == "megapolis.E001"
        assert error.is_serious()
        assert path in error.msg
        assert error.hint

    def test_with_a_hook_that_would_not_be_called_is_an_error(self, settings: Any) -> None:
        settings.API_MIDDLEWARE = [f"{__name__}.ClassWithHook"]

        [error] = check_api_middleware(None)

        assert error.id == "megapolis.E002"
        assert error.is_serious()
        assert "ClassWithHook in API_MIDDLEWARE has a process_view()" in error.msg
        assert error.hint
