"""The contract of /widgets/{id}."""

import asyncio

import httpx
import pytest

from tests.widgets import factories
from tests.widgets.conftest import pointers, problem
from widgets.schemas import WidgetResponse

BODIES = {"GET": None, "PATCH": {"name": "Cog"}, "DELETE": None}


@pytest.fixture(params=BODIES)
def method(request: pytest.FixtureRequest) -> str:
    """Each method of the address."""
    return str(request.param)


class TestAddress:
    async def test_asks_for_a_token(
        self, anonymous: httpx.AsyncClient, widget: WidgetResponse, method: str
    ) -> None:
        response = await anonymous.request(method, f"/widgets/{widget.id}", json=BODIES[method])

        problem(response, 401)
        assert response.headers["WWW-Authenticate"].startswith("Bearer")

    @pytest.mark.parametrize("identifier", [1, 2**31, 2**63 - 1])
    async def test_may_have_nothing(
        self, client: httpx.AsyncClient, method: str, identifier: int
    ) -> None:
        response = await client.request(method, f"/widgets/{identifier}", json=BODIES[method])

        assert problem(response, 404)["detail"] == "Widget not found"

    @pytest.mark.parametrize(
        "identifier",
        [
            *["0", "-1", "+1", "%201", "1%20", "1_0", "1.0", "1e3", "0x1", "me", "%00", "1%0A"],
            *["\u0663", "\uff11", "\u00b2", "%FF", str(2**63), "9" * 19, "9" * 20, "9" * 5000],
        ],
    )
    async def test_ends_in_an_id(
        self, client: httpx.AsyncClient, method: str, identifier: str
    ) -> None:
        response = await client.request(method, f"/widgets/{identifier}", json=BODIES[method])

        assert pointers(response) == ["/path/widget_id"]


class TestGetWidget:
    async def test_shows_everybody_who_is_signed_in_any_widget(
        self, client: httpx.AsyncClient, others_widget: WidgetResponse
    ) -> None:
        response = await client.get(f"/widgets/{others_widget.id}")

        assert response.json() == others_widget.model_dump(mode="json")


class TestUpdateWidget:
    async def test_changes_the_name_and_the_date_of_it(
        self, client: httpx.AsyncClient, widget: WidgetResponse
    ) -> None:
        response = await client.patch(f"/widgets/{widget.id}", json={"name": " Co\u0308g "})

        changed = response.json()
        assert response.status_code == 200
        assert changed["updated_at"] > changed["created_at"]
        before = widget.model_dump(mode="json")
        assert changed == {**before, "name": "C\u00f6g", "updated_at": changed["updated_at"]}
        assert (await client.get(f"/widgets/{widget.id}")).json() == changed

    async def test_changes_nothing_when_nothing_is_named(
        self, client: httpx.AsyncClient, widget: WidgetResponse
    ) -> None:
        response = await client.patch(f"/widgets/{widget.id}", json={})

        assert response.status_code == 200
        assert response.json() == widget.model_dump(mode="json")

    async def test_keeps_a_name_that_is_its_own(
        self, client: httpx.AsyncClient, widget: WidgetResponse
    ) -> None:
        response = await client.patch(f"/widgets/{widget.id}", json={"name": widget.name})

        assert response.status_code == 200

    async def test_refuses_a_name_that_exists(
        self, client: httpx.AsyncClient, widget: WidgetResponse, others_widget: WidgetResponse
    ) -> None:
        response = await client.patch(f"/widgets/{widget.id}", json={"name": others_widget.name})

        assert problem(response, 400)["detail"] == "Name already exists"

    @pytest.mark.parametrize("change", [{"name": None}, {"name": ""}, {"id": 7}, {"owner_id": 1}])
    async def test_refuses_what_cannot_be_changed_so(
        self, client: httpx.AsyncClient, widget: WidgetResponse, change: dict[str, object]
    ) -> None:
        response = await client.patch(f"/widgets/{widget.id}", json=change)

        assert pointers(response) == [f"/body/{name}" for name in change]
        unchanged = (await client.get(f"/widgets/{widget.id}")).json()
        assert unchanged == widget.model_dump(mode="json")

    @pytest.mark.parametrize("change", [{"name": "Mine"}, {}])
    async def test_refuses_somebody_elses_widget(
        self, client: httpx.AsyncClient, others_widget: WidgetResponse, change: dict[str, str]
    ) -> None:
        problem(await client.patch(f"/widgets/{others_widget.id}", json=change), 403)

        unchanged = (await client.get(f"/widgets/{others_widget.id}")).json()
        assert unchanged == others_widget.model_dump(mode="json")

    async def test_lets_staff_change_it_and_leaves_it_with_its_owner(
        self, staff_client: httpx.AsyncClient, user: factories.UserRow, widget: WidgetResponse
    ) -> None:
        response = await staff_client.patch(f"/widgets/{widget.id}", json={"name": "Cog"})

        assert response.status_code == 200
        assert response.json()["owner_id"] == user.id


class TestDeleteWidget:
    async def test_leaves_nothing(self, client: httpx.AsyncClient, widget: WidgetResponse) -> None:
        response = await client.delete(f"/widgets/{widget.id}")

        assert (response.status_code, response.content) == (204, b"")
        assert "Content-Type" not in response.headers
        problem(await client.get(f"/widgets/{widget.id}"), 404)
        problem(await client.delete(f"/widgets/{widget.id}"), 404)

    async def test_refuses_somebody_elses_widget(
        self, client: httpx.AsyncClient, others_widget: WidgetResponse
    ) -> None:
        problem(await client.delete(f"/widgets/{others_widget.id}"), 403)

        assert (await client.get(f"/widgets/{others_widget.id}")).status_code == 200

    async def test_lets_staff_delete_it(
        self, staff_client: httpx.AsyncClient, widget: WidgetResponse
    ) -> None:
        assert (await staff_client.delete(f"/widgets/{widget.id}")).status_code == 204

    async def test_deletes_once_however_many_try(
        self, client: httpx.AsyncClient, widget: WidgetResponse
    ) -> None:
        responses = await asyncio.gather(
            *(client.delete(f"/widgets/{widget.id}") for _ in range(20))
        )

        assert sorted(response.status_code for response in responses) == [204] + [404] * 19
