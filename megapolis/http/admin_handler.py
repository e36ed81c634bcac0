"""Django's ASGI handler for the admin and the static files."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.exceptions import BadRequest, RequestAborted
from django.core.handlers.asgi import ASGIHandler
from django.db.backends.signals import connection_created
from django.dispatch import receiver
from django.http import HttpResponseBadRequest

from megapolis import environment
from megapolis.environment import limits
from megapolis.errors import ApiError
from megapolis.http import load_shedding
from megapolis.http.prepared_response import Send, prepared_problem
from megapolis.http.request import Receive, Scope, receive_body


@receiver(connection_created)
def limit_statements(connection: Any, **_: object) -> None:
    """Set `statement_timeout` on Django's connections, as on those of the pool."""
    if environment.DATABASE_PREPARED_STATEMENTS:  # A pooler would hand the setting to others.
        milliseconds = limits.STATEMENT_TIMEOUT * 1000
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', %s, false)", [str(milliseconds)])


class AdminHandler(ASGIHandler):
    """Django's own handler, for requests whose body is complete, and not for too many at once.

    Django itself takes bodies of any size. A client that sends slowly would occupy a place in it.
    A malformed `Content-Type` is a 400.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        try:
            body = await receive_body(scope, receive, limit=limits.BODY_MAX_BYTES)
        except RequestAborted:
            return
        except ApiError as exc:
            await prepared_problem(exc.status, exc.detail, exc.headers)(send)
            return
        is_file = f"{scope['path']}/".startswith("/static/")
        in_flight = load_shedding.static if is_file else load_shedding.staff
        if in_flight.rejects(scope["headers"]):
            await in_flight.rejection(scope["headers"])(send)
            return
        with in_flight:
            await super().__call__(scope, _replayed(body, receive), send)

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


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return what brings the body in one piece, and then what `receive` brings: the disconnect."""
    whole = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive_again() -> Mapping[str, Any]:
        return next(whole, None) or await receive()

    return receive_again
