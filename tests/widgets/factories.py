"""Widgets for tests. All tests have `make_widget` as a fixture."""

from collections.abc import Awaitable, Callable
from itertools import count

import pytest

from tests.factories import (
    SessionRow,
    UserRow,
    make_session,
    make_token,
    make_user,
    permit,
    permit_group,
)
from widgets import statements
from widgets.schemas import WidgetResponse

__all__ = [
    "MakeWidget",
    "SessionRow",
    "UserRow",
    "WidgetResponse",
    "make_session",
    "make_token",
    "make_user",
    "make_widget",
    "permit",
    "permit_group",
]

type MakeWidget = Callable[..., Awaitable[WidgetResponse]]

_numbers = count(1)


async def make_widget(owner: UserRow, *, name: str | None = None) -> WidgetResponse:
    """Insert a widget, whose name is made up if none is given."""
    return await statements.create_widget.one(
        owner_id=owner.id, name=name or f"Widget {next(_numbers)}"
    )


@pytest.fixture(name="make_widget")
def make_widget_fixture(db: None) -> MakeWidget:
    """`await make_widget(owner, name="Cog")` inserts a row."""
    return make_widget
