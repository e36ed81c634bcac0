"""What staff may do with widgets of others, and what the admin's log says of it."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from accounts.models import User
from megapolis import database
from tests.conftest import MakeClient
from tests.widgets import factories
from tests.widgets.conftest import problem
from widgets.models import Widget
from widgets.schemas import WidgetResponse

METHODS = {"PATCH": ("change", {"name": "Cog"}), "DELETE": ("delete", None)}
LOG = b"""
    SELECT e.user_id, t.app_label || '.' || t.model, e.object_id, e.object_repr, e.action_flag,
           e.change_message
    FROM django_admin_log e LEFT JOIN django_content_type t ON t.id = e.content_type_id
"""

type Permit = Callable[..., Awaitable[None]]


async def log_entries() -> list[Any]:
    """Return what is in the log."""
    return await database.fetch(LOG, [], reads=True)


async def send(client: httpx.AsyncClient, method: str, widget: WidgetResponse) -> httpx.Response:
    """Change or delete a widget."""
    _, body = METHODS[method]
    return await client.request(method, f"/widgets/{widget.id}", json=body)


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    """Each way to change a widget."""
    return str(request.param)


@pytest.fixture
async def member(db: None) -> factories.UserRow:
    """A member of staff without any permission."""
    return await factories.make_user(is_staff=True)


@pytest.fixture
async def member_client(make_client: MakeClient, member: factories.UserRow) -> httpx.AsyncClient:
    """A client that is signed in as `member`."""
    return await make_client(member)


class TestPermission:
    async def test_is_needed(
        self, member_client: httpx.AsyncClient, widget: WidgetResponse, method: str
    ) -> None:
        problem(await send(member_client, method, widget), 403)

        unchanged = (await member_client.get(f"/widgets/{widget.id}")).json()
        assert unchanged == widget.model_dump(mode="json")
        assert await log_entries() == []

    @pytest.mark.parametrize("permit", [factories.permit, factories.permit_group])
    async def test_is_the_users_own_or_that_of_a_group(
        self,
        member: factories.UserRow,
        member_client: httpx.AsyncClient,
        widget: WidgetResponse,
        method: str,
        permit: Permit,
    ) -> None:
        await permit(member, METHODS[method][0], Widget)

        assert (await send(member_client, method, widget)).is_success

    @pytest.mark.parametrize("permit", [factories.permit, factories.permit_group])
    async def test_is_that_of_the_method_and_the_model(
        self,
        member: factories.UserRow,
        member_client: httpx.AsyncClient,
        widget: WidgetResponse,
        method: str,
        permit: Permit,
    ) -> None:
        for verb in {"add", "view", "change", "delete"} - {METHODS[method][0]}:
            await permit(member, verb, Widget)
        await permit(member, METHODS[method][0], User)

        problem(await send(member_client, method, widget), 403)

    async def test_is_not_needed_by_superusers(
        self, staff_client: httpx.AsyncClient, widget: WidgetResponse, method: str
    ) -> None:
        assert (await send(staff_client, method, widget)).is_success

    @pytest.mark.parametrize("permit", [factories.permit, factories.permit_group])
    async def test_is_of_no_use_to_who_is_not_staff(
        self,
        make_client: MakeClient,
        widget: WidgetResponse,
        method: str,
        permit: Permit,
    ) -> None:
        user = await factories.make_user()
        await permit(user, METHODS[method][0], Widget)

        problem(await send(await make_client(user), method, widget), 403)

    @pytest.mark.parametrize(
        "taken",
        [
            b"DELETE FROM accounts_user_user_permissions",
            b"UPDATE accounts_user SET is_staff = false",
        ],
    )
    async def test_ends_with_the_next_request(
        self,
        member: factories.UserRow,
        member_client: httpx.AsyncClient,
        user: factories.UserRow,
        method: str,
        taken: bytes,
    ) -> None:
        await factories.permit(member, METHODS[method][0], Widget)
        first, second = [await factories.make_widget(user, name=f"W{n}") for n in range(2)]
        assert (await send(member_client, method, first)).is_success

        await database.fetch(taken, [], reads=False)

        problem(await send(member_client, method, second), 403)

    async def test_ends_with_the_group(
        self,
        member: factories.UserRow,
        member_client: httpx.AsyncClient,
        widget: WidgetResponse,
        method: str,
    ) -> None:
        await factories.permit_group(member, METHODS[method][0], Widget)
        await database.fetch(b"DELETE FROM accounts_user_groups", [], reads=False)

        problem(await send(member_client, method, widget), 403)

    async def test_does_not_help_a_user_who_was_deactivated(
        self,
        member: factories.UserRow,
        member_client: httpx.AsyncClient,
        widget: WidgetResponse,
        method: str,
    ) -> None:
        await factories.permit(member, METHODS[method][0], Widget)
        await database.fetch(b"UPDATE accounts_user SET is_active = false", [], reads=False)

        problem(await send(member_client, method, widget), 401)


class TestLog:
    async def test_says_what_staff_changed(
        self, staff_client: httpx.AsyncClient, widget: WidgetResponse
    ) -> None:
        me = (await staff_client.get("/auth/me")).json()["id"]
        await staff_client.patch(f"/widgets/{widget.id}", json={"name": "Cog"})
        await staff_client.delete(f"/widgets/{widget.id}")

        about = (me, "widgets.widget", str(widget.id), "Cog")
        assert await log_entries() == [
            (*about, 2, "Changed name through the API."),
            (*about, 3, "Deleted through the API."),
        ]

    async def test_cuts_a_long_name(
        self, staff_client: httpx.AsyncClient, user: factories.UserRow
    ) -> None:
        widget = await factories.make_widget(user, name="n" * 255)

        assert (await staff_client.delete(f"/widgets/{widget.id}")).status_code == 204
        assert [entry[3] for entry in await log_entries()] == ["n" * 200]

    async def test_has_nothing_of_ones_own(
        self, make_client: MakeClient, client: httpx.AsyncClient, widget: WidgetResponse
    ) -> None:
        member = await factories.make_user(is_staff=True)
        own = await factories.make_widget(member)
        assert (await send(client, "PATCH", widget)).status_code == 200
        assert (await send(client, "DELETE", widget)).status_code == 204
        assert (await send(await make_client(member), "PATCH", own)).status_code == 200
        assert (await send(await make_client(member), "DELETE", own)).status_code == 204

        assert await log_entries() == []

    async def test_has_nothing_of_what_did_not_happen(
        self, staff_client: httpx.AsyncClient, user: factories.UserRow, widget: WidgetResponse
    ) -> None:
        taken = await factories.make_widget(user)
        path = f"/widgets/{widget.id}"
        problem(await staff_client.patch(path, json={"name": taken.name}), 400)
        problem(await staff_client.patch(path, json={"name": ""}), 422)
        problem(await staff_client.delete(f"/widgets/{taken.id + 1}"), 404)
        assert (await staff_client.patch(path, json={})).status_code == 200

        assert await log_entries() == []

    async def test_is_written_with_the_change_or_neither_is(
        self, staff_client: httpx.AsyncClient, widget: WidgetResponse, method: str
    ) -> None:
        forbid = b"ALTER TABLE django_admin_log ADD CONSTRAINT shut CHECK (false) NOT VALID"
        await database.fetch(forbid, [], reads=False)
        try:
            assert (await send(staff_client, method, widget)).status_code == 500
        finally:
            allow = b"ALTER TABLE django_admin_log DROP CONSTRAINT shut"
            await database.fetch(allow, [], reads=False)

        unchanged = (await staff_client.get(f"/widgets/{widget.id}")).json()
        assert unchanged == widget.model_dump(mode="json")
