"""The view of a path is the one that Django finds, whatever the URL patterns are."""

from itertools import product
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import Resolver404, URLPattern, URLResolver, include, path, re_path
from django.urls import resolve as django_resolve

from megapolis.http import routing

type Pattern = URLPattern | URLResolver

PATHS = [
    *("", "*", "/", "//", "/docs", "/docs/", "/openapi.json", "/missing", "/é", "/widgets\n"),
    *("/widgets", "/widgets/", "/widgets//", "/widgets/7", "/widgets/7/", "/widgets/a/b"),
    *("/auth", "/auth/", "/auth/me", "/auth/sessions/", "/auth/sessions/7", "/auth/sessions/7/x"),
    *("/admin", "/admin/", "/admin/login/", "/static/x", "widgets/", "/../widgets/"),
]


def found(resolve: Any, at: str) -> dict[str, Any] | None:
    """Return all that a match says, but for what else was tried."""
    try:
        match = resolve(at)
    except Resolver404:
        return None
    return {name: value for name, value in vars(match).items() if name != "tried"}


async def view(request: HttpRequest, **values: Any) -> HttpResponse:
    raise NotImplementedError


def named(name: str, *patterns: Pattern) -> Any:
    return include((list(patterns), name), namespace=f"{name}-1")


PATTERNS: list[Pattern] = [
    path("", view, name="root"),
    path("a", view, name="a"),
    path("a/", view, {"given": 1}, name="a-list"),
    path("a/<int:number>", view, name="a-number"),
    path("a/<name>", view, name="a-name"),
    path("<slug:any>/b", view, name="any-b"),
    path("b<int:number>/", view, name="b-number"),
    re_path(r"^a/?$", view, name="expression"),
    path("", named("flat", path("a/c", view, name="a-c"), path("c/", view))),
    path("", named("nested", path("c/", include([path("b", view)])), path("c/a", view))),
    path("", named("mixed", path("<name>", view), path("c", view))),
    path("", include([path("b", view, name="b")])),
    path("", include([path("c", view)]), {"given": 2}),
    path("c/", named("inside", path("", view), path("<path:rest>", view))),
    path("c", include([path("c", view), path("/a", view)])),
]
SEGMENTS = ["a", "b", "c", "b7", "7", "cc", ""]
SHORT_PATHS = [f"/{'/'.join(parts)}" for n in (1, 2) for parts in product(SEGMENTS, repeat=n)]


@pytest.mark.parametrize("at", PATHS)
def test_a_path_of_the_service_leads_where_django_leads(at: str) -> None:
    assert found(routing.resolve, at) == found(django_resolve, at)


@pytest.mark.parametrize("first", PATTERNS, ids=str)
def test_any_path_leads_where_django_leads(first: Pattern) -> None:
    for second in PATTERNS:
        with override_settings(ROOT_URLCONF=(first, second)):
            for at in SHORT_PATHS:
                assert found(routing.resolve, at) == found(django_resolve, at), (second, at)


def test_features_that_are_not_asked_for_are_not_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    features = [path(f"feature-{number}/<int:id>", view) for number in range(30)]
    tried: list[Any] = []
    resolve = URLPattern.resolve

    def record(pattern: URLPattern, rest: str) -> Any:
        tried.append(pattern)
        return resolve(pattern, rest)

    monkeypatch.setattr(URLPattern, "resolve", record)
    with override_settings(ROOT_URLCONF=(path("", named("api", *features)),)):
        match = routing.resolve("/feature-29/7")

    assert (match.kwargs, match.namespace) == ({"id": 7}, "api-1")
    assert tried == [features[29]]
