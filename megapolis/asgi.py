"""The ASGI application, with two doors: one for the API, one for staff.

- `/admin/` and `/static/` go to Django's own handler with the classic middleware. With
  `ADMIN_ENABLED=false` only `/static/` does, where the interactive documentation has its files.
- `/livez` and `/readyz` are answered before either (`megapolis.health`).
- Everything else goes to the handler that never leaves the event loop (`megapolis.handler`).
"""

import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "megapolis.settings")

import django

django.setup()

from django.conf import settings
from django.core.exceptions import BadRequest, RequestAborted
from django.core.handlers.asgi import ASGIHandler
from django.db.backends.signals import connection_created
from django.http import HttpResponseBadRequest
from django.utils.module_loading import import_string

from megapolis import admission, database, environment, garbage, health, limits, shutdown
from megapolis.errors import ApiError
from megapolis.exposure.checks import checked_at_start
from megapolis.handler import NativeHandler
from megapolis.logger import logger
from megapolis.plain import Send, plain_problem
from megapolis.request import Receive, Scope, receive_body

STAFF_PATHS = ("/admin/", "/static/") if environment.ADMIN_ENABLED else ("/static/",)


def limit_statements(connection: Any, **_: object) -> None:
    """Have PostgreSQL give up what takes too long on Django's connections, as on the pool's."""
    if environment.DATABASE_PREPARED_STATEMENTS:  # A pooler would hand the setting to others.
        milliseconds = limits.STATEMENT_TIMEOUT * 1000
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', %s, false)", [str(milliseconds)])


class StaffHandler(ASGIHandler):
    """Django's own handler, which answers a malformed `Content-Type`, too, instead of failing."""

    def create_request(self, scope: Any, body_file: Any) -> Any:
        """Make the request, or the answer to one that cannot be made.

        In production browsers come over https, also through a proxy that is not trusted to say so.
        So Django takes forms from https pages of the same host, and from no others.
        """
        if environment.ENVIRONMENT == "production":
            scope = {**scope, "scheme": "https"}
        try:
            return super().create_request(scope, body_file)
        except (BadRequest, ValueError):
            return None, HttpResponseBadRequest(headers=settings.API_HEADERS)


connection_created.connect(limit_statements)
api_door = NativeHandler()
staff_door = StaffHandler()


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve the lifespan and HTTP; other protocols are refused as the ASGI specification says."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1000})
    elif f"{scope['path']}/".startswith(STAFF_PATHS):
        await serve_staff(scope, receive, send)
    elif scope["path"] in health.PATHS:
        await health.answer(scope, send)
    else:
        await api_door(scope, receive, send)


async def serve_staff(scope: Scope, receive: Receive, send: Send) -> None:
    """Open the staff door to a request whose body is here, unless too many are in already.

    Django itself takes bodies of any size, and who sends one slowly would keep the others out.
    """
    try:
        body = await receive_body(scope, receive, limit=limits.BODY_MAX_BYTES)
    except RequestAborted:
        return
    except ApiError as exc:
        await plain_problem(exc.status, exc.detail, exc.headers)(send)
        return
    is_file = f"{scope['path']}/".startswith("/static/")
    door = admission.static if is_file else admission.staff
    if door.refuses(scope["headers"]):
        await door.refusal(scope["headers"])(send)
        return
    with door:
        await staff_door(scope, replayed(body, receive), send)


def replayed(body: bytes, receive: Receive) -> Receive:
    """Return what brings the body in one piece, and then what `receive` brings: the hang-up."""
    whole = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive_again() -> Mapping[str, Any]:
        return next(whole, None) or await receive()

    return receive_again


async def lifespan(receive: Receive, send: Send) -> None:
    """Open what the process shares before the first request, and close it after the last."""
    await receive()
    async with AsyncExitStack() as stack:
        try:
            stack.enter_context(shutdown.following_parent())
            await stack.enter_async_context(database.connected())
            await stack.enter_async_context(checked_at_start())
            for path in settings.API_LIFESPAN:
                await stack.enter_async_context(import_string(path)())
            stack.enter_context(garbage.left_alone())
        except Exception as exc:  # noqa: BLE001 - the server must be told, whatever it is
            logger.exception("The service cannot start")
            await send({"type": "lifespan.startup.failed", "message": str(exc)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
    await send({"type": "lifespan.shutdown.complete"})
