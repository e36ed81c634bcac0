"""The one place that turns exceptions into answers, whoever raised them.

What nobody foresaw is a 500 whose cause is only in the log.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from django.conf import settings
from django.core import signals
from django.core.exceptions import BadRequest as DjangoBadRequest
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse
from django.http.multipartparser import MultiPartParserError
from django.http.response import HttpResponseBase
from ninja.errors import AuthenticationError, HttpError, ValidationError

from megapolis.errors.exceptions import (
    ApiError,
    BadRequest,
    Forbidden,
    NotFound,
    PayloadTooLarge,
    Unauthorized,
)
from megapolis.errors.problems import FieldProblem, problem_response
from megapolis.logger import logger

type AsyncView = Callable[[HttpRequest], Awaitable[HttpResponseBase]]

TRANSLATIONS: dict[type[Exception], type[ApiError]] = {
    AuthenticationError: Unauthorized,
    Http404: NotFound,
    PermissionDenied: Forbidden,
    RequestDataTooBig: PayloadTooLarge,
    SuspiciousOperation: BadRequest,
    DjangoBadRequest: BadRequest,
    MultiPartParserError: BadRequest,
    UnicodeDecodeError: BadRequest,
}
"""What Django and Ninja raise, and what it is here; the more special before the more general."""

TRANSLATORS: dict[type[BaseException], Callable[[Any], BaseException]] = {}
"""Functions that turn such an error into another. `megapolis.apps` adds that of the database."""


def answering_exceptions(get_response: AsyncView) -> AsyncView:
    """Return the view or middleware so that it always answers, and never raises."""

    async def answer(request: HttpRequest) -> HttpResponseBase:
        try:
            return await get_response(request)
        except Exception as exc:  # noqa: BLE001 - every exception has an answer
            return await answer_exception(request, exc)

    return answer


async def answer_exception(request: HttpRequest, exc: Exception) -> HttpResponse:
    """Return the answer to whatever was raised. What nobody foresaw is logged, and is a 500."""
    try:
        return exception_response(exc)
    except Exception as unforeseen:
        if settings.DEBUG_PROPAGATE_EXCEPTIONS:
            raise
        logger.opt(exception=unforeseen).error("{} {} failed", request.method, request.path)
        await signals.got_request_exception.asend_robust(sender=None, request=request)
        return problem_response(status=500, detail=ApiError.detail)


def exception_response(exc: BaseException) -> HttpResponse:
    """Return the answer to what a view raised. What nobody foresaw is raised again."""
    if isinstance(exc, ValidationError):
        errors = [_field_problem(error) for error in exc.errors]
        return problem_response(status=422, detail="Invalid input", errors=errors)
    if isinstance(exc, HttpError) and not isinstance(exc, AuthenticationError):
        if not isinstance(exc.__cause__, ApiError):
            return problem_response(status=exc.status_code, detail=str(exc))
        exc = exc.__cause__
    exc = _translated(exc)
    if isinstance(exc, ApiError):
        return problem_response(status=exc.status, detail=exc.detail, headers=exc.headers)
    raise exc


def _translated(exc: BaseException) -> BaseException:
    for foreign, translate in TRANSLATORS.items():
        if isinstance(exc, foreign):
            exc = translate(exc)
    for foreign, ours in TRANSLATIONS.items():
        if isinstance(exc, foreign):
            exc = ours()
    return exc


def _field_problem(error: Mapping[str, Any]) -> FieldProblem:
    """Turn one row of Ninja's validation errors into pointer and message.

    Ninja puts the name of the view's parameter between "body" and the path inside the body.
    """
    source, *path = error["loc"]
    steps = path[1:] if source == "body" else path
    pointer = "/".join(str(step).replace("~", "~0").replace("/", "~1") for step in steps)
    pointer = pointer.encode(errors="replace").decode()  # a lone surrogate is no JSON
    return FieldProblem(
        pointer=f"/{source}/{pointer}".rstrip("/"),
        message=error["msg"].removeprefix("Value error, "),
    )
