"""A URLconf of ordinary Django views, to be mounted on the API handler."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from io import BytesIO
from typing import Any

from asgiref.sync import sync_to_async
from django.core.exceptions import (
    BadRequest,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
)
from django.db import connection
from django.http import (
    FileResponse,
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.template import engines
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.views import View
from django.views.decorators.http import require_GET

from megapolis import database

SECRET = "the-cause-of-it"  # what no answer may contain
WAITS = 0.2  # seconds that /wait takes


def sync_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse(
        f"thread {threading.get_ident()}", headers={"X-Method": str(request.method)}
    )


async def async_view(request: HttpRequest) -> HttpResponse:
    response = HttpResponse(f"{request.method} {request.GET.dict()} {request.body!r}")
    response.set_cookie("flavour", "oat")
    return response


class ClassView(View):
    async def get(self, request: HttpRequest, number: int) -> JsonResponse:
        return JsonResponse({"number": number, "here": reverse("class", args=[number])})


def template_view(request: HttpRequest) -> TemplateResponse:
    template = engines["django"].from_string("<p>{{ thread }}</p>")
    return TemplateResponse(request, template, {"thread": "rendered"})


def file_view(request: HttpRequest) -> FileResponse:
    return FileResponse(BytesIO(b"x" * 200_000), filename="x.bin")


async def async_stream(request: HttpRequest) -> StreamingHttpResponse:
    async def parts() -> AsyncIterator[bytes]:
        for part in (b"one ", b"two ", b"three"):
            yield part
            await asyncio.sleep(0)

    return StreamingHttpResponse(parts())


async def sync_stream(request: HttpRequest) -> StreamingHttpResponse:
    def parts() -> Iterator[bytes]:
        yield b"one "
        yield b"two"

    return StreamingHttpResponse(parts())


async def broken_stream(request: HttpRequest) -> StreamingHttpResponse:
    async def parts() -> AsyncIterator[bytes]:
        yield b"one "
        raise RuntimeError(SECRET)

    return StreamingHttpResponse(parts())


@require_GET
async def only_get(request: HttpRequest) -> HttpResponse:
    return HttpResponse("got")


def raises(error: Exception) -> object:
    async def view(request: HttpRequest) -> HttpResponse:
        raise error

    return view


def sync_raises(request: HttpRequest) -> HttpResponse:
    raise RuntimeError(SECRET)


async def nothing(request: HttpRequest) -> None:
    """What a view returns whose author forgot the `return`."""


def _backend() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid: int = cursor.fetchone()[0]
        return pid


def orm_view(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"pid": _backend(), "thread": threading.get_ident()})


async def orm_in_async_view(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"pid": await sync_to_async(_backend)()})


async def orm_then_wait(request: HttpRequest) -> HttpResponse:
    await _wait(request, reached=await sync_to_async(_backend)())
    raise AssertionError


async def query_then_wait(request: HttpRequest) -> HttpResponse:
    async with database.transaction():
        [[pid]] = await database.fetch(b"SELECT pg_backend_pid()", [], reads=True)
        await _wait(request, reached=pid)
    raise AssertionError


async def slow(request: HttpRequest) -> HttpResponse:
    await database.fetch(b"SELECT pg_sleep(60)", [], reads=True)
    raise AssertionError


async def stream_then_wait(request: HttpRequest) -> StreamingHttpResponse:
    async def parts() -> AsyncIterator[bytes]:
        yield b"one "
        await _wait(request, reached=0)

    response = StreamingHttpResponse(parts())
    response._resource_closers.append(request.scope["closed"].set)  # type: ignore[attr-defined]
    return response


async def _wait(request: Any, *, reached: int) -> None:
    """Wait for ever, after telling the test that this point was reached."""
    request.scope["reached"].set_result(reached)
    await asyncio.Event().wait()


async def wait(request: HttpRequest) -> HttpResponse:
    await asyncio.sleep(WAITS)
    return HttpResponse("waited")


async def backend(request: HttpRequest) -> JsonResponse:
    sql = b"SELECT pg_backend_pid(), pg_current_xact_id_if_assigned() IS NOT NULL"
    [[pid, in_transaction]] = await database.fetch(sql, [], reads=True)
    return JsonResponse({"pid": pid, "in_transaction": in_transaction})


async def badly_closed(request: Any) -> HttpResponse:
    response = HttpResponse("well")
    response._resource_closers += [lambda: 1 / 0, request.scope["closed"].set]  # type: ignore[attr-defined]
    return response


async def large(request: HttpRequest) -> HttpResponse:
    return HttpResponse(b"x" * 200_000)


async def redirect(request: HttpRequest) -> HttpResponse:
    return HttpResponseRedirect("/elsewhere")


async def no_content(request: HttpRequest) -> HttpResponse:
    return HttpResponse(status=204)


async def select_one(request: HttpRequest) -> JsonResponse:
    [[one]] = await database.fetch(b"SELECT 1", [], reads=True)
    return JsonResponse({"one": one})


urlpatterns = [
    path("sync", sync_view),
    path("async", async_view),
    path("large", large),
    path("class/<int:number>", ClassView.as_view(), name="class"),
    path("template", template_view),
    path("file", file_view),
    path("async-stream", async_stream),
    path("sync-stream", sync_stream),
    path("broken-stream", broken_stream),
    path("only-get", only_get),
    path("orm", orm_view),
    path("orm-in-async", orm_in_async_view),
    path("orm-then-wait", orm_then_wait),
    path("query-then-wait", query_then_wait),
    path("slow", slow),
    path("wait", wait),
    path("stream-then-wait", stream_then_wait),
    path("backend", backend),
    path("badly-closed", badly_closed),
    path("redirect", redirect),
    path("no-content", no_content),
    path("select-one", select_one),
    path("nothing", nothing),  # type: ignore[arg-type]
    path("sync-raises", sync_raises),
    path("raises", raises(RuntimeError(SECRET))),  # type: ignore[call-overload]
    path("timeout-error", raises(TimeoutError())),  # type: ignore[call-overload]
    path("404", raises(Http404(SECRET))),  # type: ignore[call-overload]
    path("403", raises(PermissionDenied(SECRET))),  # type: ignore[call-overload]
    path("400", raises(BadRequest(SECRET))),  # type: ignore[call-overload]
    path("suspicious", raises(SuspiciousOperation(SECRET))),  # type: ignore[call-overload]
    path("413", raises(RequestDataTooBig(SECRET))),  # type: ignore[call-overload]
]
