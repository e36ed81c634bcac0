"""The middleware that the staff door has besides Django's."""

from django.http import HttpRequest, HttpResponse
from django.utils.decorators import async_only_middleware
from django.utils.deprecation import MiddlewareMixin

from megapolis import middleware
from megapolis.admin.outage import outage_page


request_context = async_only_middleware(middleware.request_context)
"""The API door's, marked for Django's own handler as what it is."""


class OutageMiddleware(MiddlewareMixin):
    """Answers 503 with a page where Django would show a traceback, or nothing but 500."""

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Recognise an outage, and leave other exceptions to Django."""
        return outage_page(request, exception)
