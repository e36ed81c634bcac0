"""The middleware that the staff door has besides Django's."""

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.decorators import async_only_middleware
from django.utils.deprecation import MiddlewareMixin

from megapolis import middleware
from megapolis.logger import logger

RETRY_AFTER = 5

request_context = async_only_middleware(middleware.request_context)
"""The API door's, marked for Django's own handler as what it is."""


class OutageMiddleware(MiddlewareMixin):
    """Answers 503 with a page where Django would show a traceback, or nothing but 500."""

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Recognise an outage, and leave other exceptions to Django."""
        if not isinstance(exception, OperationalError | InterfaceError):
            return None
        logger.error("{} {} failed: {}", request.method, request.path, str(exception).strip())
        response = render(request, "admin/503.html", status=503)
        response.headers["Retry-After"] = str(RETRY_AFTER)
        return response
