"""The SQL of widgets."""

from functools import cache

from django.db.models import BigIntegerField, BooleanField, F, Func, IntegerField, Q, TextField
from django.db.models.functions import Collate, Lower, Now

from megapolis.statements import Delete, Insert, Param, Statement, Update
from widgets.models import NAME_COLLATION, Widget
from widgets.schemas import WidgetOrder, WidgetResponse

_may_change = Widget.objects.filter(
    Q(owner=Param("user_id")) | Q(Param("is_staff", BooleanField())), pk=Param("id")
)

find_widget = Statement(Widget.objects.filter(pk=Param("id")), row=WidgetResponse)

create_widget = Insert(
    Widget, {"name": Param("name"), "owner": Param("owner_id")}, row=WidgetResponse
)

delete_widget = Delete(_may_change, row=WidgetResponse)


@cache
def update_widget(*fields: str) -> Update[WidgetResponse]:
    """Return the statement that changes these fields of a widget which the user may change.

    Without fields it changes nothing, `updated_at` neither, and still asks whether the user may.
    """
    values = {field: Param(field) for field in fields}
    updated_at = Now() if fields else F("updated_at")
    return Update(_may_change, {**values, "updated_at": updated_at}, row=WidgetResponse)


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


def _owned_by(name: str) -> Func:
    """Return `owner_id = ANY(ARRAY[…])`, with which no order but one by owner first has an index.

    At `owner_id = …` the planner may well read everybody's widgets in order of id, and throw away
    those of others: half a million of them, where the owner came late.
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
