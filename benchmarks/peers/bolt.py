"""django-bolt: its Rust server, token verification in Rust, msgspec, and Django's async ORM.

https://bolt.farhana.li/topics/authentication/
https://bolt.farhana.li/topics/async-orm/
"""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from django.db import IntegrityError
from django.db.models.functions import Now
from django_bolt import BoltAPI, Request
from django_bolt.auth import IsAuthenticated, JWTAuthentication
from django_bolt.exceptions import BadRequest, NotFound, Unauthorized
from django_bolt.param_functions import Query
from django_bolt.params import Depends

from benchmarks.peers import configuration
from benchmarks.peers.tables.models import ApiSession, User, Widget

token = JWTAuthentication(
    secret=configuration.SECRET,
    algorithms=["HS256"],
    issuer=configuration.ISSUER,
    audience=configuration.AUDIENCE,
    leeway=0,
)
protected: dict[str, Any] = {"auth": [token], "guards": [IsAuthenticated()]}
api = BoltAPI(trailing_slash="keep", enable_logging=False)


class WidgetCreate(msgspec.Struct):
    """The body of a create."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


class WidgetResponse(msgspec.Struct):
    """A widget as it is answered."""

    id: int
    name: str
    owner_id: int
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, widget: Widget) -> "WidgetResponse":
        """Return the answer for a row."""
        return cls(
            id=widget.id,
            name=widget.name,
            owner_id=widget.owner_id,
            created_at=widget.created_at,
            updated_at=widget.updated_at,
        )


class WidgetPage(msgspec.Struct):
    """A page of a list."""

    items: list[WidgetResponse]
    next_cursor: str | None


async def get_current_user(request: Request) -> User:
    """Return the user of the verified token, whose session must not be revoked."""
    claims = request.context["auth_claims"]
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
    if session is None:
        raise Unauthorized(detail="Unauthorized")
    return session.user


CurrentUser = Annotated[User, Depends(get_current_user)]


@api.get("/widgets/{widget_id}", **protected)
async def get_widget(widget_id: int, user: CurrentUser) -> WidgetResponse:
    """Return a widget."""
    try:
        return WidgetResponse.of(await Widget.objects.aget(id=widget_id))
    except Widget.DoesNotExist:
        raise NotFound(detail="Not found") from None


@api.get("/widgets/", **protected)
async def list_widgets(
    user: CurrentUser, limit: Annotated[int, Query(ge=1, le=100)] = 50, cursor: int = 0
) -> WidgetPage:
    """Return a page of widgets."""
    query = Widget.objects.filter(id__gt=cursor).order_by("id")[: limit + 1]
    widgets = [WidgetResponse.of(widget) async for widget in query]
    return WidgetPage(
        items=widgets[:limit],
        next_cursor=str(widgets[limit - 1].id) if len(widgets) > limit else None,
    )


@api.post("/widgets/", status_code=201, **protected)
async def create_widget(payload: WidgetCreate, user: CurrentUser) -> WidgetResponse:
    """Create a widget and return it."""
    try:
        widget = await Widget.objects.acreate(name=payload.name, owner_id=user.id)
    except IntegrityError:
        raise BadRequest(detail="Name already exists") from None
    return WidgetResponse.of(widget)
