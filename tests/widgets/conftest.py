"""What the tests of widgets share."""

from typing import Any

import httpx
import pytest

from tests.widgets import factories
from widgets.schemas import WidgetResponse


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """Return the body, after making sure that it is the problem+json of this status."""
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == status
    assert body["request_id"] == response.headers["X-Request-ID"]
    return body


def pointers(response: httpx.Response) -> list[str]:
    """Return what the errors of a 422 point at."""
    return [error["pointer"] for error in problem(response, 422)["errors"]]


@pytest.fixture
async def widget(user: factories.UserRow) -> WidgetResponse:
    """A widget of `user`."""
    return await factories.make_widget(user, name="Sprocket")


@pytest.fixture
async def others_widget(db: None) -> WidgetResponse:
    """A widget of somebody else."""
    return await factories.make_widget(await factories.make_user(), name="Cog")
