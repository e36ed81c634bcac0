"""What can be done with widgets, and who may do it."""

from typing import Any

from psycopg.errors import UniqueViolation
from pydantic import TypeAdapter

from accounts.schemas import CurrentUser
from accounts.staff import log_change, log_deletion, transaction_of_staff
from megapolis.errors import BadRequest, Forbidden, NotFound, UnprocessableContent
from megapolis.rest import decode_cursor, encode_cursor, split_page
from widgets import statements
from widgets.models import LAST_NAME, Widget
from widgets.schemas import (
    WidgetListQuery,
    WidgetListResponse,
    WidgetResponse,
    WidgetUpdateRequest,
)

_id_key = TypeAdapter(tuple[int])
_name_key = TypeAdapter(tuple[int, str])


class NameExists(BadRequest):
    """Somebody's widget has the name already."""

    detail = "Name already exists"


class WidgetNotFound(NotFound):
    """No widget has this id."""

    detail = "Widget not found"


class NotTheOwner(Forbidden):
    """Only its owner, and staff with the permission, may change or delete a widget."""

    detail = "You may neither change nor delete this widget"


class SearchOrder(UnprocessableContent):
    """A search is served from the index of names, so it comes in their order."""

    detail = "A search can only be ordered by name or -name"


async def create_widget(*, owner: CurrentUser, name: str) -> WidgetResponse:
    """Create a widget. `NameExists` if the database has the name already."""
    try:
        return await statements.create_widget.one(name=name, owner_id=owner.id)
    except UniqueViolation:
        raise NameExists from None


async def get_widget(*, widget_id: int) -> WidgetResponse:
    """Return a widget, or raise `WidgetNotFound`."""
    widget = await statements.find_widget.one_or_none(id=widget_id)
    if widget is None:
        raise WidgetNotFound
    return widget


async def update_widget(
    *, user: CurrentUser, widget_id: int, changes: WidgetUpdateRequest
) -> WidgetResponse:
    """Change what `changes` names, and log what staff change of others.

    Raises `WidgetNotFound`, `NotTheOwner` or `NameExists`.
    """
    values = changes.model_dump(exclude_unset=True)
    update = statements.update_widget(*values, by_staff=user.is_staff)
    try:
        async with transaction_of_staff(user):
            widget = await update.one_or_none(id=widget_id, user_id=user.id, **values)
            if widget and values and widget.owner_id != user.id:
                await log_change(
                    user=user,
                    model=Widget,
                    object_id=widget.id,
                    name=widget.name,
                    fields=list(values),
                )
    except UniqueViolation:
        raise NameExists from None
    return widget or await _refuse(widget_id=widget_id)


async def delete_widget(*, user: CurrentUser, widget_id: int) -> None:
    """Delete a widget. `WidgetNotFound` or `NotTheOwner` if it cannot be.

    What staff delete of others is logged.
    """
    delete = statements.delete_widget(by_staff=user.is_staff)
    async with transaction_of_staff(user):
        widget = await delete.one_or_none(id=widget_id, user_id=user.id)
        if widget and widget.owner_id != user.id:
            await log_deletion(user=user, model=Widget, object_id=widget.id, name=widget.name)
    if widget is None:
        await _refuse(widget_id=widget_id)


async def list_widgets(*, user_id: int, query: WidgetListQuery) -> WidgetListResponse:
    """Return a page of widgets. Raises `SearchOrder` or `InvalidCursor`."""
    order = query.order or ("name" if query.search else "id")
    by_name = order.endswith("name")
    if query.search and not by_name:
        raise SearchOrder
    context = f"{order} {query.owner or ''} {query.search or ''}"
    statement = statements.list_widgets(
        order=order,
        owned=query.owner is not None,
        searched=query.search is not None,
        after=query.cursor is not None,
    )
    values: dict[str, int | str] = {"limit": query.limit + 1}
    if query.owner:
        values["owner_id"] = user_id
    if query.search:
        values |= {"prefix": query.search, "prefix_end": query.search + LAST_NAME}
    if query.cursor is not None:
        values |= _read_cursor(query.cursor, context=context, by_name=by_name)

    def cursor_of(widget: WidgetResponse) -> str:
        key = (widget.id, widget.name) if by_name else (widget.id,)
        return encode_cursor(key, context=context)

    rows = await statement.all(**values)
    items, next_cursor = split_page(rows, limit=query.limit, cursor_of=cursor_of)
    return WidgetListResponse(items=items, next_cursor=next_cursor)


def _read_cursor(cursor: str, *, context: str, by_name: bool) -> dict[str, int | str]:
    """Return the sort key that the page begins after, as parameters of the statement."""
    key: TypeAdapter[Any] = _name_key if by_name else _id_key
    values = decode_cursor(cursor, context=context, key=key)
    return dict(zip(("after_id", "after_name"), values, strict=False))


async def _refuse(*, widget_id: int) -> WidgetResponse:
    """Raise `WidgetNotFound`, or `NotTheOwner` if there is such a row."""
    await get_widget(widget_id=widget_id)
    raise NotTheOwner
