"""The middleware that the admin has besides Django's."""

from django.db import DataError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.decorators import async_only_middleware
from django.utils.deprecation import MiddlewareMixin

from megapolis.admin.outage import outage_page
from megapolis.http import middleware
from megapolis.http.middleware import AsyncView
from megapolis.logger import logger


@async_only_middleware
def request_context(get_response: AsyncView) -> AsyncView:
    """The middleware of the API, marked for Django's own handler, with forms in UTF-8.

    A charset that a client names could be any of Python's codecs, some of which are none for text.
    """

    async def answer(request: HttpRequest) -> HttpResponseBase:
        request.encoding = "utf-8"
        return await get_response(request)

    return middleware.request_context(answer)


class OutageMiddleware(MiddlewareMixin):
    """Answers with a page where Django would show a traceback, or nothing but 500.

    An outage is a 503, and a value that PostgreSQL cannot take a 400: a NUL, a time zone that is
    none, whatever gets past Django's own checks.
    """

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Recognise what is no mistake of ours, and leave other exceptions to Django."""
        if isinstance(exception, DataError):
            reason = type(exception.__cause__).__name__  # the message may quote what was sent
            logger.warning("{} {} rejected: {}", request.method, request.path, reason)
            return render(request, "400.html", status=400)
        return outage_page(request, exception)
