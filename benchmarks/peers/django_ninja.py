"""Stock async Django with Ninja: no middleware, the async ORM, Django's own ASGI handler.

https://docs.djangoproject.com/en/6.1/topics/async/
https://django-ninja.dev/guides/authentication/
"""

from datetime import datetime
from typing import Any

import jwt
from django.core.asgi import get_asgi_application
from django.db import IntegrityError
from django.db.models.functions import Now
from django.http import HttpRequest
from django.urls import path
from ninja import Field, NinjaAPI, Query, Schema, Status
from ninja.errors import HttpError
from ninja.security import HttpBearer

application = get_asgi_application()

from benchmarks.peers import configuration  # noqa: E402 - Django first
from benchmarks.peers.tables.models import ApiSession, User, Widget  # noqa: E402 - Django first


class WidgetCreate(Schema):
    """The body of a create."""

    name: str = Field(min_length=1, max_length=255)


class WidgetResponse(Schema):
    """A widget as it is answered."""

    id: int
    name: str
    owner_id: int
    created_at: datetime
    updated_at: datetime


class WidgetPage(Schema):
    """A page of a list."""

    items: list[WidgetResponse]
    next_cursor: str | None


class Message(Schema):
    """What went wrong."""

    detail: str


class TokenAuth(HttpBearer):
    """Accepts a valid token whose session is not revoked."""

    async def authenticate(self, request: HttpRequest, token: str) -> User | None:
        """Return the user, or None for a 401."""
        try:
            claims = jwt.decode(
                token,
                configuration.SECRET,
                algorithms=["HS256"],
                issuer=configuration.ISSUER,
                audience=configuration.AUDIENCE,
                options={"require": configuration.REQUIRED_CLAIMS},
            )
        except jwt.PyJWTError:
            return None
        session = (
            await ApiSession.objects.select_related("user")
            .filter(
                key=claims["sid"],
                user_id=claims["sub"],
                revoked_at=None,
                expires_at__gt=Now(),
                user__is_active=True,
            )
            .afirst()
        )
        return session.user if session else None


api = NinjaAPI(auth=TokenAuth())


@api.get("/widgets/{int:widget_id}", response=WidgetResponse)
async def get_widget(request: HttpRequest, widget_id: int) -> Widget:
    """Return a widget."""
    try:
        return await Widget.objects.aget(id=widget_id)
    except Widget.DoesNotExist:
        raise HttpError(404, "Not found") from None


@api.get("/widgets/", response=WidgetPage)
async def list_widgets(
    request: HttpRequest, limit: int = Query(50, ge=1, le=100), cursor: int = 0
) -> dict[str, Any]:
    """Return a page of widgets."""
    query = Widget.objects.filter(id__gt=cursor).order_by("id")[: limit + 1]
    widgets = [widget async for widget in query]
    return {
        "items": widgets[:limit],
        "next_cursor": str(widgets[limit - 1].id) if len(widgets) > limit else None,
    }


@api.post("/widgets/", response={201: WidgetResponse, 400: Message})
async def create_widget(request: Any, payload: WidgetCreate) -> Status[Any]:
    """Create a widget and return it."""
    try:
        widget = await Widget.objects.acreate(name=payload.name, owner_id=request.auth.id)
    except IntegrityError:
        return Status(400, {"detail": "Name already exists"})
    return Status(201, widget)


urlpatterns = [path("", api.urls)]
