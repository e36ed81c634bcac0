"""The middleware of the API: coroutine functions around coroutine functions."""

from collections.abc import Awaitable, Callable
from secrets import token_hex
from time import perf_counter

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.http.response import HttpResponseBase
from django.urls import is_valid_path

from megapolis import environment
from megapolis.errors.problems import problem_response
from megapolis.logger import log_access, request_id

type AsyncView = Callable[[HttpRequest], Awaitable[HttpResponseBase]]

REQUEST_ID_MAX_LENGTH = 64
CANCELLED = 499
"""The status in the log of a request that was cancelled, because its client disconnected or the
process stopped. nginx logs the same."""


def request_context(get_response: AsyncView) -> AsyncView:
    """Give the request an id, which its log lines and its answer carry, and log it.

    A client's own `X-Request-ID` is kept if it is short and plain, so that one id can be followed
    through several services.
    """

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        started, method = perf_counter(), request.method
        identifier = request.META.get("HTTP_X_REQUEST_ID", "")
        if not _is_plain(identifier):
            identifier = token_hex(16)
        token = request_id.set(identifier)
        status = CANCELLED
        try:
            response = await get_response(request)
            response.headers["X-Request-ID"] = identifier
            status = response.status_code
            return response
        finally:
            if environment.ACCESS_LOG:
                log_access(method, request.path, status, (perf_counter() - started) * 1000)
            request_id.reset(token)

    return middleware


def append_slash(get_response: AsyncView) -> AsyncView:
    """Redirect `/widgets` to `/widgets/`, where nothing but the slash is missing.

    The status is 307, which keeps the method and the body (RFC 9110, section 15.4.8).
    """

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        response = await get_response(request)
        nothing_there = response.status_code == 404 and request.resolver_match is None
        if not nothing_there or not is_valid_path(f"{request.path_info}/"):
            return response
        location = request.get_full_path(force_append_slash=True)
        return HttpResponse(status=307, headers={"Location": location})

    return middleware


def http_methods(get_response: AsyncView) -> AsyncView:
    """Answer HEAD as GET, whose body the server leaves out, and OPTIONS from the views' methods."""

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        method = request.method
        if method == "HEAD":
            request.method = "GET"
        response = await get_response(request)
        if not isinstance(response, HttpResponseNotAllowed):
            return response
        allowed = {*response.headers["Allow"].split(", "), "OPTIONS"}
        if "GET" in allowed:
            allowed.add("HEAD")
        headers = {"Allow": ", ".join(sorted(allowed))}
        if method == "OPTIONS":
            return HttpResponse(status=204, headers=headers)
        return problem_response(
            status=405, detail=f"{method} is not supported here", headers=headers
        )

    return middleware


def _is_plain(identifier: str) -> bool:
    return (
        0 < len(identifier) <= REQUEST_ID_MAX_LENGTH
        and identifier.isascii()
        and identifier.replace("-", "").replace("_", "").isalnum()
    )
