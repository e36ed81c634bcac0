"""The ASGI application, with two doors: one for the API, one for staff.

- `/admin/` and `/static/` go to Django's own handler with the classic middleware. With
  `ADMIN_ENABLED=false` only `/static/` does, where the interactive documentation has its files.
- `/livez` and `/readyz` are answered before either (`megapolis.health`).
- Everything else goes to the handler that never leaves the event loop (`megapolis.handler`).
"""

import os
from contextlib import AsyncExitStack

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "megapolis.settings")

import django

django.setup()

from django.core.handlers.asgi import ASGIHandler

from accounts import supabase
from megapolis import admission, database, environment, garbage, health, shutdown
from megapolis.handler import NativeHandler
from megapolis.logger import logger
from megapolis.plain import Send
from megapolis.request import Receive, Scope

STAFF_PATHS = ("/admin/", "/static/") if environment.ADMIN_ENABLED else ("/static/",)

api_door = NativeHandler()
staff_door = ASGIHandler()


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
    """Open the staff door, unless too many are in already."""
    if admission.staff.refuses(scope["headers"]):
        await admission.staff.refusal(scope["headers"])(send)
        return
    with admission.staff:
        await staff_door(scope, receive, send)


async def lifespan(receive: Receive, send: Send) -> None:
    """Open what the process shares before the first request, and close it after the last."""
    await receive()
    async with AsyncExitStack() as stack:
        try:
            stack.enter_context(shutdown.announced())
            stack.enter_context(shutdown.following_parent())
            await stack.enter_async_context(database.connected())
            await stack.enter_async_context(supabase.verifying())
            stack.enter_context(garbage.left_alone())
        except Exception as exc:  # noqa: BLE001 - the server must be told, whatever it is
            logger.exception("The service cannot start")
            await send({"type": "lifespan.startup.failed", "message": str(exc)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
    await send({"type": "lifespan.shutdown.complete"})
