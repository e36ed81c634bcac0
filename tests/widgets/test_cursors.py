"""Cursors that the list of widgets did not write, or wrote for other queries."""

from base64 import urlsafe_b64decode, urlsafe_b64encode

import httpx
import orjson
import pytest

from tests.conftest import MakeClient
from tests.widgets import factories
from tests.widgets.conftest import problem

LISTS = [
    {},
    {"order": "-id"},
    {"owner": "me"},
    {"order": "name"},
    {"order": "-name"},
    {"order": "name", "owner": "me"},
    {"search": "spr"},
    {"search": "SPR"},
    {"search": "spr", "order": "-name"},
    {"search": "spr", "owner": "me"},
]


def forge(*content: object) -> str:
    return urlsafe_b64encode(orjson.dumps(content)).rstrip(b"=").decode()


@pytest.fixture
async def cursor(client: httpx.AsyncClient, user: factories.UserRow) -> str:
    """A cursor of the list in order of id."""
    for _ in range(2):
        await factories.make_widget(user)
    response = await client.get("/widgets/", params={"limit": 1})
    return str(response.json()["next_cursor"])


async def test_belong_to_one_order_and_one_filter(
    client: httpx.AsyncClient, user: factories.UserRow
) -> None:
    for number in range(2):
        await factories.make_widget(user, name=f"Sprocket {number}")
    for mine in LISTS:
        page = (await client.get("/widgets/", params={**mine, "limit": 1})).json()
        for other in LISTS:
            query = {**other, "cursor": page["next_cursor"]}
            response = await client.get("/widgets/", params=query)
            if other == mine:
                assert len(response.raise_for_status().json()["items"]) == 1
            else:
                assert "cursor" in problem(response, 422)["detail"]


async def test_allow_another_limit_on_each_page(client: httpx.AsyncClient, cursor: str) -> None:
    response = await client.get("/widgets/", params={"cursor": cursor, "limit": 100})

    assert len(response.json()["items"]) == 1


async def test_show_nobody_elses_widgets(
    client: httpx.AsyncClient, user: factories.UserRow, make_client: MakeClient
) -> None:
    for _ in range(2):
        await factories.make_widget(user)
    page = (await client.get("/widgets/", params={"owner": "me", "limit": 1})).json()
    stranger = await make_client(await factories.make_user())

    query = {"owner": "me", "cursor": page["next_cursor"]}
    response = await stranger.get("/widgets/", params=query)

    assert response.json()["items"] == []


async def test_are_refused_when_anything_in_them_changes(
    client: httpx.AsyncClient, cursor: str
) -> None:
    context, key = orjson.loads(urlsafe_b64decode(cursor + "=="))
    spoilt = [
        "",
        cursor[:-1],
        cursor[1:],
        cursor + "=",
        cursor + "==",
        cursor + "A",
        cursor + " ",
        cursor + "!",
        f"{cursor[:4]}*{cursor[4:]}",
        cursor.swapcase(),
        cursor * 2,
        "\u00e9",
        "not base64",
        "A" * 30_000,
        urlsafe_b64encode(b"\xff\xfe").decode(),
        urlsafe_b64encode(b"[" * 9_999).decode(),
        forge(),
        forge(context),
        forge(context, key, key),
        forge(context, str(key)),
        forge(context, float(key)),
        forge(context, True),
        forge(context, None),
        forge(context, [key]),
        forge(context, {"id": key}),
        forge("", key),
        forge(None, key),
        forge("name  ", key),
        forge(context, 2**63),
        forge(context, 2**64 - 1),
        urlsafe_b64encode(orjson.dumps({context: key})).decode(),
        urlsafe_b64encode(orjson.dumps(context)).decode(),
        urlsafe_b64encode(b"7").decode(),
        urlsafe_b64encode(f'["{context}", {key}]'.encode()).rstrip(b"=").decode(),
        urlsafe_b64encode(f'["{context}",{10**30}]'.encode()).rstrip(b"=").decode(),
        urlsafe_b64encode(f'["{context}",1e999]'.encode()).rstrip(b"=").decode(),
        urlsafe_b64encode(f'["{context}",NaN]'.encode()).rstrip(b"=").decode(),
    ]
    for value in spoilt:
        response = await client.get("/widgets/", params={"cursor": value})
        assert "items" not in response.json(), value
        problem(response, 422)


@pytest.mark.parametrize("name", ["a\x00b", 7, None, ["x"]])
async def test_are_refused_when_the_name_in_them_is_none(
    client: httpx.AsyncClient, name: object
) -> None:
    query = {"order": "name", "cursor": forge("name  ", 1, name)}

    problem(await client.get("/widgets/", params=query), 422)


@pytest.mark.parametrize("key", [-(2**63), -1, 0, 2**63 - 1])
async def test_may_point_where_no_widget_is(client: httpx.AsyncClient, key: int) -> None:
    response = await client.get("/widgets/", params={"cursor": forge("id  ", key)})

    assert response.status_code == 200
