"""The ASGI application, which hands each request to one of two handlers. There is no WSGI.

- `/admin/` and `/static/` go to Django's own handler with Django's middleware
  (`megapolis.http.admin_handler`). With `ADMIN_ENABLED=false` only `/static/` does, where the
  interactive documentation has its files.
- `/livez` and `/readyz` are answered before either (`megapolis.http.health`).
- Everything else goes to the handler of the API, which never leaves the event loop
  (`megapolis.http.api_handler`).

Database connections and timeouts of the API belong to an event loop, which WSGI does not have.
"""

import os
from contextlib import AsyncExitStack

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "megapolis.settings")

import django

django.setup()

from django.conf import settings
from django.utils.module_loading import import_string

from megapolis import database, environment
from megapolis.database.exposure.checks import check_at_start
from megapolis.http import health
from megapolis.http.admin_handler import AdminHandler
from megapolis.http.api_handler import ApiHandler
from megapolis.http.prepared_response import Send
from megapolis.http.request import Receive, Scope
from megapolis.logger import logger
from megapolis.server import gc_tuning, shutdown

ADMIN_PATHS = ("/admin/", "/static/") if environment.ADMIN_ENABLED else ("/static/",)

api_handler = ApiHandler()
admin_handler = AdminHandler()


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve the lifespan and HTTP; close websockets, as the ASGI specification says."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1000})
    elif f"{scope['path']}/".startswith(ADMIN_PATHS):
        await admin_handler(scope, receive, send)
    elif scope["path"] in health.PATHS:
        await health.answer(scope, send)
    else:
        await api_handler(scope, receive, send)


async def lifespan(receive: Receive, send: Send) -> None:
    """Open what the process shares before the first request, and close it after the last."""
    await receive()
    async with AsyncExitStack() as stack:
        try:
            stack.enter_context(shutdown.stop_with_parent())
            await stack.enter_async_context(database.connected())
            await stack.enter_async_context(check_at_start())
            for path in settings.API_LIFESPAN:
                await stack.enter_async_context(import_string(path)())
            stack.enter_context(gc_tuning.gc_tuned())
        except Exception as exc:  # noqa: BLE001 - the server must be told, whatever it is
            logger.exception("The service cannot start")
            await send({"type": "lifespan.startup.failed", "message": str(exc)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
    await send({"type": "lifespan.shutdown.complete"})
