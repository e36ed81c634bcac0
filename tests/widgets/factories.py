"""Widgets for tests. `make_widget` is a fixture, too, for the tests of every folder."""

from collections.abc import Awaitable, Callable
from itertools import count
from typing import TYPE_CHECKING

import pytest

from widgets import statements
from widgets.schemas import WidgetResponse

if TYPE_CHECKING:
    from tests.factories import UserRow

type MakeWidget = Callable[..., Awaitable[WidgetResponse]]

_numbers = count(1)


async def make_widget(owner: "UserRow", *, name: str | None = None) -> WidgetResponse:
    """Insert a widget, whose name is made up if none is given."""
    return await statements.create_widget.one(
        owner_id=owner.id, name=name or f"Widget {next(_numbers)}"
    )


@pytest.fixture(name="make_widget")
def make_widget_fixture(db: None) -> MakeWidget:
    """`await make_widget(owner)` inserts a widget; `name=` gives it a name."""
    return make_widget
