"""System checks, run by every `manage.py` command and before the service starts."""

from collections.abc import Iterator, Sequence
from inspect import iscoroutinefunction
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import MiddlewareNotUsed
from django.utils.deprecation import MiddlewareMixin
from django.utils.module_loading import import_string

HOOKS = ("process_view", "process_exception", "process_template_response")


@register
def check_api_middleware(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """Report middleware that would use a thread, or whose hooks would not be called."""
    return [error for path in settings.API_MIDDLEWARE for error in _errors(path)]


def _errors(path: str) -> Iterator[CheckMessage]:
    factory = import_string(path)
    try:
        middleware = factory(_get_response)
    except MiddlewareNotUsed:
        return
    is_mixin = isinstance(factory, type) and issubclass(factory, MiddlewareMixin)
    if is_mixin or not iscoroutinefunction(middleware):
        yield Error(
            f"{path} in API_MIDDLEWARE is not native async.",
            hint="Write it as a function that returns a coroutine function, or as a class with "
            "`async_capable = True` that does not inherit MiddlewareMixin.",
            id="megapolis.E001",
        )
    for hook in HOOKS:
        if hasattr(middleware, hook):
            yield Error(
                f"{path} in API_MIDDLEWARE has a {hook}(), which the API handler does not call.",
                hint="Do it around `await get_response(request)`, or in a decorator of the view.",
                id="megapolis.E002",
            )


async def _get_response(request: Any) -> Any:
    """The view of the middleware that is checked."""
