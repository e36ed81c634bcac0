"""System checks, run by every `manage.py` command and before the service starts."""

from collections.abc import Sequence
from inspect import iscoroutinefunction
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import MiddlewareNotUsed
from django.utils.deprecation import MiddlewareMixin
from django.utils.module_loading import import_string


@register
def check_api_middleware(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """Refuse middleware that would hop into a thread for each request."""
    return [
        Error(
            f"{path} in API_MIDDLEWARE is not native async.",
            hint="Write it as a function that returns a coroutine function, or as a class with "
            "`async_capable = True` that does not inherit MiddlewareMixin.",
            id="megapolis.E001",
        )
        for path in settings.API_MIDDLEWARE
        if not _is_native_async(import_string(path))
    ]


def _is_native_async(factory: Any) -> bool:
    async def get_response(request: Any) -> Any:
        """Stand for what is inside of the middleware."""

    if isinstance(factory, type) and issubclass(factory, MiddlewareMixin):
        return False
    try:
        return iscoroutinefunction(factory(get_response))
    except MiddlewareNotUsed:
        return True
