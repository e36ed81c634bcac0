"""The page that says that the database is away or too slow, wherever it was found out."""

import sys

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views import defaults
from psycopg.errors import QueryCanceled

from megapolis.logger import logger

RETRY_AFTER = 5


def outage_page(request: HttpRequest, exception: BaseException | None) -> HttpResponse | None:
    """Return the page if it is an outage that was raised."""
    if not isinstance(exception, OperationalError | InterfaceError):
        return None
    logger.error("{} {} failed: {}", request.method, request.path, str(exception).strip())
    is_slow = isinstance(exception.__cause__, QueryCanceled)
    response = render(request, "admin/503.html", {"is_slow": is_slow}, status=503)
    response.headers["Retry-After"] = str(RETRY_AFTER)
    return response


def server_error(request: HttpRequest) -> HttpResponse:
    """Be Django's `handler500`, which what fails in a middleware reaches: a session is saved there.

    With DEBUG, Django shows its own page instead.
    """
    return outage_page(request, sys.exception()) or defaults.server_error(request)
