"""The SQL of widgets."""

from functools import cache

from django.db.models import (
    BigIntegerField,
    BooleanField,
    F,
    Func,
    IntegerField,
    Q,
    QuerySet,
    TextField,
)
from django.db.models.functions import Collate, Lower, Now

from accounts.staff import holds_permission
from megapolis.database import Delete, Insert, Param, Statement, Update
from widgets.models import NAME_COLLATION, Widget
from widgets.schemas import WidgetOrder, WidgetResponse

find_widget = Statement(Widget.objects.filter(pk=Param("id")), row=WidgetResponse)

create_widget = Insert(
    Widget, {"name": Param("name"), "owner": Param("owner_id")}, row=WidgetResponse
)


@cache
def delete_widget(*, by_staff: bool) -> Delete[WidgetResponse]:
    """Return the statement that deletes a widget which the user may delete."""
    return Delete(_if_allowed("delete", by_staff=by_staff), row=WidgetResponse)


@cache
def update_widget(*fields: str, by_staff: bool) -> Update[WidgetResponse]:
    """Return the statement that changes these fields of a widget, if the user may.

    Without fields it changes nothing, `updated_at` neither, and still asks whether the user may.
    """
    values = {field: Param(field) for field in fields}
    updated_at = Now() if fields else F("updated_at")
    widgets = _if_allowed("change", by_staff=by_staff)
    return Update(widgets, {**values, "updated_at": updated_at}, row=WidgetResponse)


@cache
def list_widgets(
    *, order: WidgetOrder, owned: bool, searched: bool, after: bool
) -> Statement[WidgetResponse]:
    """Return the statement of a list: `after` a sort key, `owned` by one user, with a prefix.

    Each combination has an index that yields it in order, so that its cost is that of the rows
    on the page. A prefix is the range from `prefix` to `prefix_end`, because a prepared plan does
    not know the pattern of a LIKE. A sort key is `after_id`, and in order of name `after_name` too.
    """
    widgets = Widget.objects.alias(folded=Lower("name"))
    keys = ["id"] if order.endswith("id") else ["folded", "id"]
    if owned:
        widgets = widgets.filter(_owned_by("owner_id"))
        keys = ["owner_id", *keys]
    if searched:
        widgets = widgets.filter(folded__gte=_folded("prefix"), folded__lt=_folded("prefix_end"))
    direction, beyond = ("-", "lt") if order.startswith("-") else ("", "gt")
    widgets = widgets.order_by(*(direction + key for key in keys))
    condition = id_beyond = Q(**{f"id__{beyond}": Param("after_id")})
    if order.endswith("name"):
        name = _folded("after_name")
        condition = Q(**{f"folded__{beyond}e": name}) & (
            Q(**{f"folded__{beyond}": name}) | id_beyond
        )
    if after:
        widgets = widgets.filter(condition)
    return Statement(widgets, row=WidgetResponse, limit=Param("limit", IntegerField()))


def _if_allowed(verb: str, *, by_staff: bool) -> QuerySet[Widget]:
    """Return the row `id` if `user_id` owns it or, `by_staff`, has the permission."""
    allowed = Q(owner=Param("user_id"))
    if by_staff:
        allowed |= holds_permission(verb, Widget)
    return Widget.objects.filter(allowed, pk=Param("id"))


def _owned_by(name: str) -> Func:
    """Return `owner_id = ANY(ARRAY[…])`, with which no order but one by owner first has an index.

    At `owner_id = …` the planner may read all widgets in order of id, and discard
    those of others: half a million rows if the owner came late.
    """
    return Func(
        F("owner_id"),
        Param(name, BigIntegerField()),
        arg_joiner=" = ANY(ARRAY[",
        template="%(expressions)s])",
        output_field=BooleanField(),
    )


def _folded(name: str) -> Lower:
    return Lower(Collate(Param(name, TextField()), NAME_COLLATION))
