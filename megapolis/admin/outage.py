"""The page that says that the database is away or too slow, wherever it was found out."""

import sys

import django.db
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views import defaults
from psycopg.errors import QueryCanceled

from megapolis.database.errors import UNREACHABLE, sqlstate_of, state_of
from megapolis.logger import logger

RETRY_AFTER = 5


def outage_page(request: HttpRequest, exception: BaseException | None) -> HttpResponse | None:
    """Return the page if it is an outage that was raised, and close Django's connection."""
    error = _database_error(exception)
    state = state_of(error)
    if error is None or state is None:
        return None
    reason = " ".join(filter(None, [sqlstate_of(error), str(error).strip().partition("\n")[0]]))
    logger.error("{} {} failed: {}", request.method, request.path, reason)
    if state.drops_connection:
        django.db.connection.close()
    if isinstance(error.__cause__, QueryCanceled):
        heading = "This takes too long"
    elif state.detail == UNREACHABLE.detail:
        heading = "The database is away"
    else:
        heading = state.detail
    response = render(request, "admin/503.html", {"heading": heading}, status=503)
    response.headers["Retry-After"] = str(RETRY_AFTER)
    return response


def server_error(request: HttpRequest) -> HttpResponse:
    """Be Django's `handler500`, which what fails in a middleware reaches: a session is saved there.

    With DEBUG, Django shows its own page instead.
    """
    return outage_page(request, sys.exception()) or defaults.server_error(request)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Be Django's `handler400`, which a session reaches that could not be saved.

    Django takes any error of the database for a session that was deleted meanwhile.
    """
    return outage_page(request, exception) or defaults.bad_request(request, exception)


def _database_error(exception: BaseException | None) -> django.db.Error | None:
    """Return the error itself, or the one that was being handled when it was raised."""
    while exception is not None and not isinstance(exception, django.db.Error):
        exception = exception.__cause__ or exception.__context__
    return exception
