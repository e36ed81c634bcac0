"""Django's ASGI handler, without threads.

Django's own handler uses a thread for the receivers of `request_started` and to close the response,
because database connections belong to threads. Requests of the API use none. If a view used one
anyway, this handler cleans up as Django does.

These things differ from `django.core.handlers.asgi.ASGIHandler`:

- the middleware is `settings.API_MIDDLEWARE`, all of it native async;
- the body is limited while it is received, and never written to disk (`megapolis.http.request`);
- exceptions become problem+json without a thread (`megapolis.errors.exception_handler`);
- `Host` is checked for every request;
- requests in flight and the time of a view are limited (`megapolis.environment.limits`);
- `request.urlconf` is ignored (`megapolis.http.routing`);
- signals are sent if a receiver is not Django's own, or if a thread was used.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from http import HTTPStatus
from inspect import iscoroutinefunction

from asgiref.sync import SyncToAsync, ThreadSensitiveContext, sync_to_async
from django.conf import settings
from django.core import signals
from django.core.exceptions import MiddlewareNotUsed, RequestAborted
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.response import SimpleTemplateResponse
from django.urls import set_script_prefix
from django.utils.module_loading import import_string

from megapolis.environment import limits
from megapolis.errors import ServiceUnavailable
from megapolis.errors.exception_handler import AsyncView, answering_exceptions
from megapolis.http import load_shedding, routing
from megapolis.http.disconnect import CancelledByDisconnect
from megapolis.http.load_shedding import LoadShedder
from megapolis.http.prepared_response import Send
from megapolis.http.request import ApiRequest, Receive, Scope, receive_request
from megapolis.http.signals import has_other_receivers

KNOWN_HOSTS = 100
"""How many spellings of `Host` are remembered as allowed."""


class TooSlow(ServiceUnavailable):
    """The view was stopped, and a transaction of `megapolis.database` that was open is undone.

    What runs in a thread goes on to its end.
    """

    detail = "This takes too long now"


class ApiHandler(ASGIHandler):
    """The ASGI application of the API."""

    def __init__(self) -> None:
        super().__init__()
        self._headers = [
            (name.lower().encode(), name.encode(), value.encode())
            for name, value in settings.API_HEADERS.items()
        ]
        self._known_hosts: set[str | None] = set()
        self.admission: LoadShedder = load_shedding.api
        self._body_max_bytes: int = settings.API_BODY_MAX_BYTES
        self._body_limits: Mapping[str, int] = settings.API_BODY_LIMITS

    def load_middleware(self, is_async: bool = True) -> None:  # noqa: FBT001, FBT002 - Django's
        """Chain `settings.API_MIDDLEWARE` around the view."""
        chain: AsyncView = answering_exceptions(self.call_view)
        for path in reversed(settings.API_MIDDLEWARE):
            with suppress(MiddlewareNotUsed):
                chain = answering_exceptions(import_string(path)(chain))
        self._middleware_chain = chain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        if self.admission.rejects(scope["headers"]):
            await self.admission.rejection(scope["headers"])(send)
            return
        context = ThreadSensitiveContext()
        async with context:
            try:
                limit = self._body_limits.get(scope["path"], self._body_max_bytes)
                request = await receive_request(scope, receive, limit=limit)
            except RequestAborted:
                return
            is_full = self.admission.in_flight >= self.admission.limit  # Others came meanwhile.
            if is_full and request.early_error is None:
                await self.admission.rejection(scope["headers"])(send)
                return
            if request.script_name:
                set_script_prefix(request.script_name)
            if has_other_receivers(signals.request_started):
                await signals.request_started.asend(sender=self.__class__, scope=scope)
            await self.respond(request, receive, send, context=context)

    async def respond(
        self,
        request: ApiRequest,
        receive: Receive,
        send: Send,
        *,
        context: ThreadSensitiveContext,
    ) -> None:
        """Produce and send the response, unless the client disconnects, and clean up."""
        response: HttpResponseBase | None = None
        try:
            async with CancelledByDisconnect(receive, at_once=request.early_error is not None):
                # Counted neither before nor after this, or slow clients would keep out the others.
                with self.admission:
                    response = await self._middleware_chain(request)
                    # As Django's own handler does, with names that its stubs do not have.
                    response._resource_closers.append(request.close)  # type: ignore[attr-defined]
                    response._handler_class = self.__class__  # type: ignore[attr-defined]
                    if response.streaming:  # it is still being made
                        await self.send_response(response, send)
                if not response.streaming:
                    await self.send_response(response, send)
        finally:
            await self.finish(response, used_thread=_used_thread(context))

    async def send_response(self, response: HttpResponseBase, send: Send) -> None:
        """Send it with the headers of every answer; a complete body goes in one piece."""
        if response.streaming:
            for _, name, value in self._headers:
                response.headers.setdefault(name.decode(), value.decode())
            await super().send_response(response, send)
            return
        # As `items()` yields them, which looks each name up again: 1 % of a request.
        stored = response.headers._store.values()
        headers = [(name.encode("ascii"), value.encode("latin-1")) for name, value in stored]
        given = {name.lower() for name, _ in headers}
        headers += [
            (b"Set-Cookie", cookie.OutputString().encode("ascii"))
            for cookie in response.cookies.values()
        ]
        headers += [(name, value) for lower, name, value in self._headers if lower not in given]
        body = response.content  # type: ignore[attr-defined] # as it does not stream
        if response.status_code == HTTPStatus.NO_CONTENT:
            headers = [header for header in headers if header[0].lower() != b"content-type"]
        elif b"content-length" not in given:
            headers.append((b"Content-Length", b"%d" % len(body)))
        status = response.status_code
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def call_view(self, request: HttpRequest) -> HttpResponseBase:
        """Call the view that the URL leads to; one that is not async runs in a thread."""
        if isinstance(request, ApiRequest) and request.early_error:
            raise request.early_error
        self._check_host(request)
        match = request.resolver_match = routing.resolve(request.path_info)
        view = match.func
        if not _is_async(view):
            view = sync_to_async(self.make_view_atomic(view), thread_sensitive=True)
        budget = asyncio.timeout(limits.ANSWER_TIMEOUT)
        try:
            async with budget:
                response: HttpResponseBase = await view(request, *match.args, **match.kwargs)
        except TimeoutError:
            if not budget.expired():
                raise
            raise TooSlow from None
        self.check_response(response, view)
        if isinstance(response, SimpleTemplateResponse):
            response = await sync_to_async(response.render, thread_sensitive=True)()
        return response

    def _check_host(self, request: HttpRequest) -> None:
        """Raise `DisallowedHost`, as `get_host()` does, which parses the header every time."""
        host = request.META.get("HTTP_HOST")
        if host not in self._known_hosts:
            request.get_host()
            if len(self._known_hosts) < KNOWN_HOSTS:
                self._known_hosts.add(host)

    async def finish(self, response: HttpResponseBase | None, *, used_thread: bool) -> None:
        """Close the response and tell `request_finished`, in the request's thread if it had one."""
        if used_thread or has_other_receivers(signals.request_finished):
            if response is None:
                await signals.request_finished.asend(sender=self.__class__)
            else:
                await sync_to_async(response.close)()
        elif response is not None:
            for close in response._resource_closers:  # type: ignore[attr-defined] # not in stubs
                with suppress(Exception):
                    close()
            response.closed = True


_is_async = cache(iscoroutinefunction)


def _used_thread(context: ThreadSensitiveContext) -> bool:
    return context in SyncToAsync.context_to_thread_executor
