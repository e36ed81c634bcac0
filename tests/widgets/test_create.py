"""The contract of POST /widgets/."""

import asyncio
import unicodedata

import httpx
import pytest

from tests.widgets import factories
from tests.widgets.conftest import pointers, problem
from widgets.schemas import WidgetResponse


async def test_returns_the_widget_and_where_it_is(
    client: httpx.AsyncClient, user: factories.UserRow
) -> None:
    response = await client.post("/widgets/", json={"name": "Sprocket"})

    widget = response.json()
    assert response.status_code == 201
    assert response.headers["Location"] == f"/widgets/{widget['id']}"
    assert set(widget) == {"id", "name", "owner_id", "created_at", "updated_at"}
    assert (widget["name"], widget["owner_id"]) == ("Sprocket", user.id)
    assert widget["created_at"] == widget["updated_at"]
    assert widget["created_at"].endswith("Z")
    assert (await client.get(response.headers["Location"])).json() == widget


async def test_asks_for_a_token(anonymous: httpx.AsyncClient) -> None:
    response = await anonymous.post("/widgets/", json={"name": "Sprocket"})

    problem(response, 401)
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


async def test_refuses_a_name_that_exists(
    client: httpx.AsyncClient, others_widget: WidgetResponse
) -> None:
    response = await client.post("/widgets/", json={"name": others_widget.name})

    assert problem(response, 400)["detail"] == "Name already exists"


@pytest.mark.parametrize("spellings", [["Sprocket"], ["caf\u00e9", "cafe\u0301", " caf\u00e9 "]])
async def test_gives_one_name_to_one_of_a_hundred_who_want_it_at_once(
    client: httpx.AsyncClient, spellings: list[str]
) -> None:
    names = (spellings * 100)[:100]

    responses = await asyncio.gather(
        *(client.post("/widgets/", json={"name": name}) for name in names)
    )

    assert sorted(response.status_code for response in responses) == [201] + [400] * 99
    assert len((await client.get("/widgets/")).json()["items"]) == 1


async def test_takes_names_that_differ_in_case(client: httpx.AsyncClient) -> None:
    responses = [await client.post("/widgets/", json={"name": name}) for name in ("Cog", "cog")]

    assert [response.status_code for response in responses] == [201, 201]


async def test_can_use_a_name_again_once_it_is_free(
    client: httpx.AsyncClient, widget: WidgetResponse
) -> None:
    await client.delete(f"/widgets/{widget.id}")

    response = await client.post("/widgets/", json={"name": widget.name})

    assert response.status_code == 201
    assert response.json()["id"] > widget.id


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("  Sprocket\u2003", "Sprocket"),
        ("cafe\u0301", "caf\u00e9"),
        ("\u212b", "\u00c5"),
        ("two  words", "two  words"),
        ("x" * 255, "x" * 255),
        (" " * 300 + "x" * 255, "x" * 255),
        ("e\u0301" * 255, "\u00e9" * 255),
        ("\U0001f9f0" * 255, "\U0001f9f0" * 255),
        ("\u05d0\u05d1 % _ \\ ' \" ; --", "\u05d0\u05d1 % _ \\ ' \" ; --"),
        ("$1 %s {} \ufeff", "$1 %s {} \ufeff"),
    ],
)
async def test_stores_a_name_trimmed_and_in_its_composed_form(
    client: httpx.AsyncClient, written: str, stored: str
) -> None:
    response = await client.post("/widgets/", json={"name": written})

    assert response.status_code == 201
    assert response.json()["name"] == stored
    assert unicodedata.is_normalized("NFC", stored)


@pytest.mark.parametrize(
    "name",
    ["", " ", "\u2003\u00a0", "x" * 256, "\u0958" * 128, "a\x00b", "\t", "a\nb", "a\x7f", "\x85"],
)
async def test_refuses_what_is_no_name(client: httpx.AsyncClient, name: str) -> None:
    assert pointers(await client.post("/widgets/", json={"name": name})) == ["/body/name"]


@pytest.mark.parametrize("name", [None, 1, 1.5, True, ["Sprocket"], {"name": "Sprocket"}])
async def test_takes_text_only(client: httpx.AsyncClient, name: object) -> None:
    assert pointers(await client.post("/widgets/", json={"name": name})) == ["/body/name"]


async def test_refuses_fields_that_it_does_not_know(client: httpx.AsyncClient) -> None:
    response = await client.post("/widgets/", json={"name": "Cog", "owner_id": 1, "a/~": 2})

    assert pointers(response) == ["/body/owner_id", "/body/a~1~0"]
