"""The contract of /widgets/."""

import asyncio

import httpx

from tests.conftest import MakeClient
from tests.widgets import factories
from tests.widgets.factories import MakeWidget


class TestCreateWidget:
    async def test_returns_the_widget_and_where_it_is(
        self, client: httpx.AsyncClient, user: factories.UserRow
    ) -> None:
        response = await client.post("/widgets/", json={"name": "Sprocket"})

        widget = response.json()
        assert response.status_code == 201
        assert response.headers["Location"] == f"/widgets/{widget['id']}"
        assert (widget["name"], widget["owner_id"]) == ("Sprocket", user.id)
        assert widget["created_at"] == widget["updated_at"]
        assert (await client.get(response.headers["Location"])).json() == widget

    async def test_refuses_a_name_that_exists(self, client: httpx.AsyncClient) -> None:
        await client.post("/widgets/", json={"name": "Sprocket"})

        response = await client.post("/widgets/", json={"name": "Sprocket"})

        assert response.status_code == 400
        assert response.headers["Content-Type"] == "application/problem+json"
        assert response.json()["detail"] == "Name already exists"

    async def test_gives_one_name_to_one_of_a_hundred_who_want_it_at_once(
        self, client: httpx.AsyncClient
    ) -> None:
        responses = await asyncio.gather(
            *(client.post("/widgets/", json={"name": "Sprocket"}) for _ in range(100))
        )

        statuses = sorted(response.status_code for response in responses)
        assert statuses == [201] + [400] * 99


class TestUpdateWidget:
    async def test_refuses_somebody_elses_widget(
        self, client: httpx.AsyncClient, make_client: MakeClient, make_widget: MakeWidget
    ) -> None:
        other = await factories.make_user()
        widget = await make_widget(other)

        response = await client.patch(f"/widgets/{widget.id}", json={"name": "Mine"})

        assert response.status_code == 403
        owner = await make_client(other)
        assert (await owner.get(f"/widgets/{widget.id}")).json()["name"] == widget.name
