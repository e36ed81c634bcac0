"""Finding the view of a path, at a price that does not grow with the number of features.

Django tries its URL patterns one after the other, and builds what it found twice: inside the
`include()` of the API, and around it. Here only those patterns are tried whose first segment is
that of the path. What they do not match is left to Django.
"""

from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from typing import Any

from django.urls import ResolverMatch, URLPattern, URLResolver, get_resolver
from django.urls.resolvers import RoutePattern

type Pattern = URLPattern | URLResolver
type Route = tuple[Pattern, dict[str, Any]]
"""A pattern, and what its matches owe to the `include()` around it."""


def resolve(path: str) -> ResolverMatch:
    """Return what Django's `resolve()` returns for the path, or raise `Resolver404` as it does.

    Only `tried` may be missing in it, the patterns that did not match.
    """
    resolver = get_resolver()
    if path.startswith("/"):
        rest = path[1:]
        segment, _, _ = rest.partition("/")
        for pattern, names in _routes(resolver).get(segment, ()):
            if match := pattern.resolve(rest):
                vars(match).update(names)
                return match
    return resolver.resolve(path)


@cache
def _routes(resolver: URLResolver) -> dict[str, list[Route]]:
    """Return the routes by first segment, but for the first that has none and all behind it."""
    routes = defaultdict(list)
    for pattern, names in _flattened(resolver):
        segment, _, _ = str(pattern.pattern).partition("/")
        is_route = isinstance(pattern, URLPattern) and isinstance(pattern.pattern, RoutePattern)
        if not is_route or "<" in segment:
            break
        routes[segment].append((pattern, names))
    return dict(routes)


def _flattened(resolver: URLResolver) -> Iterator[Route]:
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver) and _is_transparent(pattern):
            yield from ((inner, _names(pattern, inner)) for inner in pattern.url_patterns)
        else:
            yield pattern, {}


def _is_transparent(resolver: URLResolver) -> bool:
    """Whether it matches what the patterns in it match, as a `path("", include(…))` does."""
    is_route = isinstance(resolver.pattern, RoutePattern)
    return is_route and str(resolver.pattern) == "" and not resolver.default_kwargs


def _names(include: URLResolver, pattern: Pattern) -> dict[str, Any]:
    if isinstance(pattern, URLResolver):
        return {}
    match = ResolverMatch(
        pattern.callback, (), {}, pattern.name, [include.app_name], [include.namespace]
    )
    names = ("app_names", "app_name", "namespaces", "namespace", "view_name")
    return {name: getattr(match, name) for name in names}
