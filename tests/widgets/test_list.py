"""The contract of the list of widgets: pages, orders, searches, owners."""

import asyncio

import httpx
import pytest

from tests.widgets import factories
from tests.widgets.conftest import pointers, problem
from widgets.schemas import WidgetResponse

ORDERS = ["id", "-id", "name", "-name"]
LISTS = [
    {"order": order, **search, **owner}
    for order in ORDERS
    for search in ({}, {"search": "cog"})
    for owner in ({}, {"owner": "me"})
    if not (search and order.endswith("id"))
]
NAMES = ["Cog 1", "cog 2", "COG 3", "Bolt", "Zip", "cog 4", "Émile", "\U0001f9f0 box", "Cog"]


async def walk(client: httpx.AsyncClient, **query: str | int) -> list[dict[str, object]]:
    """Return what all pages hold, one after another."""
    items: list[dict[str, object]] = []
    while True:
        page = (await client.get("/widgets/", params=query)).raise_for_status().json()
        assert len(page["items"]) <= int(query.get("limit", 50))
        items += page["items"]
        if page["next_cursor"] is None:
            return items
        query["cursor"] = page["next_cursor"]


async def names(client: httpx.AsyncClient, **query: str | int) -> list[str]:
    return [str(item["name"]) for item in await walk(client, **query)]


@pytest.fixture
async def widgets(user: factories.UserRow) -> list[WidgetResponse]:
    """Widgets of `user` and of somebody else, in turn."""
    owners = [user, await factories.make_user()]
    return [
        await factories.make_widget(owners[number % 2], name=name)
        for number, name in enumerate(NAMES)
    ]


class TestPages:
    async def test_is_empty_without_widgets(self, client: httpx.AsyncClient) -> None:
        response = await client.get("/widgets/")

        assert response.json() == {"items": [], "next_cursor": None}

    async def test_begins_with_the_oldest(
        self, client: httpx.AsyncClient, widgets: list[WidgetResponse]
    ) -> None:
        response = await client.get("/widgets/")

        assert response.json()["items"] == [widget.model_dump(mode="json") for widget in widgets]

    async def test_has_fifty_items_unless_told(
        self, client: httpx.AsyncClient, user: factories.UserRow
    ) -> None:
        for _ in range(51):
            await factories.make_widget(user)

        page = (await client.get("/widgets/")).json()

        assert len(page["items"]) == 50
        rest = (await client.get("/widgets/", params={"cursor": page["next_cursor"]})).json()
        assert (len(rest["items"]), rest["next_cursor"]) == (1, None)

    async def test_has_no_next_page_when_the_last_is_full(
        self, client: httpx.AsyncClient, widgets: list[WidgetResponse]
    ) -> None:
        response = await client.get("/widgets/", params={"limit": len(widgets)})

        assert response.json()["next_cursor"] is None

    @pytest.mark.parametrize(
        "limit", ["0", "101", "-1", "+5", " 5", "5 ", "1_0", "5.0", "", "ten", "\u0665", "9" * 30]
    )
    async def test_refuses_other_limits(self, client: httpx.AsyncClient, limit: str) -> None:
        assert pointers(await client.get("/widgets/", params={"limit": limit})) == ["/query/limit"]

    @pytest.mark.parametrize("limit", [1, 2, 3, 100])
    @pytest.mark.parametrize("query", LISTS)
    async def test_hold_every_widget_once_in_order(
        self,
        client: httpx.AsyncClient,
        user: factories.UserRow,
        widgets: list[WidgetResponse],
        query: dict[str, str],
        limit: int,
    ) -> None:
        wanted = [w for w in widgets if w.name.lower().startswith(query.get("search", ""))]
        wanted = [w for w in wanted if "owner" not in query or w.owner_id == user.id]
        if query["order"].endswith("name"):
            wanted.sort(key=lambda widget: (widget.name.lower(), widget.id))
        if query["order"].startswith("-"):
            wanted.reverse()

        found = await walk(client, limit=limit, **query)

        assert [item["id"] for item in found] == [widget.id for widget in wanted]

    @pytest.mark.parametrize("order", ORDERS)
    async def test_lose_and_repeat_nothing_while_others_write(
        self, client: httpx.AsyncClient, user: factories.UserRow, order: str
    ) -> None:
        kept = [await factories.make_widget(user, name=f"widget {n:03}") for n in range(0, 60, 2)]
        gone = [await factories.make_widget(user, name=f"widget {n:03}") for n in range(1, 60, 6)]
        walked = asyncio.create_task(walk(client, order=order, limit=2))

        for number, widget in enumerate(gone):
            await client.delete(f"/widgets/{widget.id}")
            await client.post("/widgets/", json={"name": f"Widget {number * 6:03} new"})
        found = [item["id"] for item in await walked]

        assert len(found) == len(set(found))
        assert {widget.id for widget in kept} <= set(found)

    async def test_go_on_behind_a_widget_that_is_gone(
        self, client: httpx.AsyncClient, widgets: list[WidgetResponse]
    ) -> None:
        page = (await client.get("/widgets/", params={"limit": 1})).json()
        await client.delete(f"/widgets/{widgets[0].id}")

        after = await walk(client, cursor=page["next_cursor"])

        assert [item["id"] for item in after] == [widget.id for widget in widgets[1:]]


class TestSearch:
    @pytest.mark.parametrize(
        ("name", "search"),
        [
            ("Sprocket", "sPROc"),
            ("Émile", "é"),
            ("émile", "E\u0301MI"),
            ("Straße", "STRAß"),
            ("STRA\u1e9eE", "straß"),
            ("İstanbul", "i"),
            ("ılık", "ı"),
            ("ΣΟΦΟΣ", "σοφοσ"),
            ("Ñandú", "ñANDÚ"),
            ("Ж1", "ж"),
            ("\U0001f9f0 box", "\U0001f9f0"),
            ("\U00010400 Deseret", "\U00010428"),
            ("50% off", "50%"),
            ("a_b", "A_"),
            ("c\\d", "C\\"),
            ("[x]*", "[x]*"),
            ("ab\U0010ffff\U0010ffff", "ab\U0010ffff"),
            ("two words", " two "),
        ],
    )
    async def test_finds_a_beginning_in_any_case(
        self, client: httpx.AsyncClient, user: factories.UserRow, name: str, search: str
    ) -> None:
        await factories.make_widget(user, name=name)

        assert await names(client, search=search) == [name]
        assert await names(client, search=search, order="-name", owner="me") == [name]

    @pytest.mark.parametrize(
        "search", ["rocket", "%", "_procket", "S%", "sprocket!", ".", "\\", "S\u0301"]
    )
    async def test_finds_nothing_else(
        self, client: httpx.AsyncClient, widget: WidgetResponse, search: str
    ) -> None:
        assert await names(client, search=search) == []

    @pytest.mark.parametrize("search", ["", "  ", "a\x00", "\n", "x" * 256, "x" * 9000])
    async def test_refuses_what_no_name_can_hold(
        self, client: httpx.AsyncClient, search: str
    ) -> None:
        response = await client.get("/widgets/", params={"search": search})

        assert pointers(response) == ["/query/search"]

    async def test_is_in_order_of_name(
        self, client: httpx.AsyncClient, widgets: list[WidgetResponse]
    ) -> None:
        assert await names(client, search="cog") == ["Cog", "Cog 1", "cog 2", "COG 3", "cog 4"]

    @pytest.mark.parametrize("order", ["id", "-id"])
    async def test_cannot_be_in_order_of_id(self, client: httpx.AsyncClient, order: str) -> None:
        response = await client.get("/widgets/", params={"search": "cog", "order": order})

        assert problem(response, 422)["detail"] == "A search can only be ordered by name or -name"


class TestParameters:
    @pytest.mark.parametrize(
        "query", ["order=created_at", "order=Name", "order=", "owner=1", "owner=", "owner=ME"]
    )
    async def test_have_the_documented_values_only(
        self, client: httpx.AsyncClient, query: str
    ) -> None:
        name = query.partition("=")[0]

        assert pointers(await client.get(f"/widgets/?{query}")) == [f"/query/{name}"]
