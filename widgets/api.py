"""The endpoints of widgets."""

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router, Status

from accounts.auth import concurrent_auth, current_user, current_user_id
from megapolis.errors.problems import Problem
from megapolis.rest import Id
from widgets import services
from widgets.schemas import (
    WidgetCreateRequest,
    WidgetListQuery,
    WidgetListResponse,
    WidgetResponse,
    WidgetUpdateRequest,
)

router = Router(tags=["widgets"])


@router.get("/", response=WidgetListResponse)
@concurrent_auth
async def list_widgets(request: HttpRequest, query: Query[WidgetListQuery]) -> WidgetListResponse:
    """A page of everybody's widgets, or of yours."""
    return await services.list_widgets(user_id=current_user_id(request), query=query)


@router.post("/", response={201: WidgetResponse, 409: Problem})
async def create_widget(
    request: HttpRequest, response: HttpResponse, payload: WidgetCreateRequest
) -> Status[WidgetResponse]:
    """Create a widget that you own. A name that exists is rejected with 400."""
    widget = await services.create_widget(owner=current_user(request), name=payload.name)
    response["Location"] = f"/widgets/{widget.id}"
    return Status(201, widget)


@router.get("/{widget_id}", response={200: WidgetResponse, 404: Problem})
@concurrent_auth
async def get_widget(request: HttpRequest, widget_id: Id) -> WidgetResponse:
    """One widget."""
    return await services.get_widget(widget_id=widget_id)


@router.patch("/{widget_id}", response={200: WidgetResponse, 403: Problem, 404: Problem})
async def update_widget(
    request: HttpRequest, widget_id: Id, payload: WidgetUpdateRequest
) -> WidgetResponse:
    """Change a widget of yours. What is absent stays as it is."""
    return await services.update_widget(
        user=current_user(request), widget_id=widget_id, changes=payload
    )


@router.delete("/{widget_id}", response={204: None, 403: Problem, 404: Problem})
async def delete_widget(request: HttpRequest, widget_id: Id) -> Status[None]:
    """Delete a widget of yours."""
    await services.delete_widget(user=current_user(request), widget_id=widget_id)
    return Status(204, None)
