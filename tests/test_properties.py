"""Whatever comes in, the answer is below 500, and JSON that says what was wrong.

Each test here sends many requests that hypothesis makes up, the same ones in every run.
"""

import json
import unicodedata
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import factories
from tests.conftest import BASE_URL

few = settings(derandomize=True, max_examples=100)

JSON = {"Content-Type": "application/json"}
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"]
HEADERS = [
    *[b"Accept", b"Cookie", b"Origin", b"Host", b"Referer", b"X-Request-ID", b"Authorization"],
    *[b"Content-Type", b"X-Forwarded-For", b"If-None-Match", b"Content-Encoding", b"Range"],
]
PATHS = ["/widgets/", "/widgets/1", "/auth/me", "/auth/token", "/openapi.json", "/"]

any_text = st.text(st.characters(codec=None, categories=None), max_size=300)
utf_8_text = st.text(st.characters(codec="utf-8"), max_size=300)
letters = st.sampled_from(
    ["\u00e9", "e\u0301", "\u212b", "\u0958", "\U0001f9f0", " ", "\u2003", "x"]
)
names = st.one_of(
    any_text,
    st.lists(letters, max_size=8).map("".join),
    # Hypothesis by itself hardly ever makes a long text.
    st.tuples(letters, st.integers(120, 260)).map(lambda pair: pair[0] * pair[1] + "x"),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda children: st.lists(children) | st.dictionaries(any_text, children),
    max_leaves=8,
)
bodies = st.one_of(
    st.binary(max_size=200),
    json_values.map(lambda value: json.dumps(value).encode()),
    st.dictionaries(st.sampled_from(["name", "Name", "id", ""]), json_values, max_size=3).map(
        lambda value: json.dumps(value).encode()
    ),
    utf_8_text.map(lambda name: json.dumps({"name": name}).encode("utf-16")),
)
ids = st.one_of(
    st.integers().map(str),
    st.integers(0, 2**65).map(str),
    st.sampled_from([" 1", "1_0", "+1", "1.0", "\u0661", "1e3", "0x1", "", "-0", "01", "1\x00"]),
    utf_8_text,
)
header_values = st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=80)


@pytest.fixture(scope="module")
async def client(pool: None) -> AsyncIterator[httpx.AsyncClient]:
    """A client that is signed in, and stays so from one example to the next."""
    from megapolis import database
    from megapolis.asgi import application

    token = await factories.make_token(await factories.make_user())
    app: Any = application
    transport = httpx.ASGITransport(app)
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(transport=transport, base_url=BASE_URL, headers=headers) as client:
        yield client
    await database.fetch(b"DELETE FROM widgets_widget", [], reads=False)
    await database.fetch(b"DELETE FROM accounts_apisession", [], reads=False)
    await database.fetch(b"DELETE FROM accounts_user", [], reads=False)


def check(response: httpx.Response) -> Any:
    """Hold an answer to what every answer promises, and return its JSON."""
    assert response.status_code < 500
    if response.status_code >= 400:
        assert response.headers["Content-Type"] == "application/problem+json"
    if not response.content or response.headers["Content-Type"].startswith("text/html"):
        return None
    body = json.loads(response.content.decode())
    if response.status_code >= 400:
        assert body["status"] == response.status_code
        assert body.keys() - {"errors"} == {"type", "title", "status", "detail", "request_id"}
    return body


def is_name(text: str) -> bool:
    """Say independently what a name is."""
    stored = unicodedata.normalize("NFC", text).strip()
    controls = any(unicodedata.category(character) in {"Cc", "Cs"} for character in text)
    return not controls and 1 <= len(stored) <= 255


def escaped(path: str) -> bytes:
    """Percent-encode every byte, so that httpx sends the path as it is."""
    return "".join(f"%{byte:02X}" for byte in path.encode()).encode()


@few
@given(name=names)
async def test_a_name_is_stored_as_it_is_said_or_refused(
    client: httpx.AsyncClient, name: str
) -> None:
    response = await client.post("/widgets/", content=json.dumps({"name": name}), headers=JSON)

    body = check(response)
    if not is_name(name):
        assert response.status_code == 422
        return
    assert response.status_code == 201
    assert body["name"] == unicodedata.normalize("NFC", name).strip()
    assert check(await client.get(f"/widgets/{body['id']}")) == body
    query = {"search": body["name"], "limit": 1}
    assert check(await client.get("/widgets/", params=query))["items"] == [body]
    prefix = body["name"][: len(body["name"]) // 2 + 1].strip()
    found = check(await client.get("/widgets/", params={"search": prefix, "limit": 100}))["items"]
    assert body in found
    assert (await client.delete(f"/widgets/{body['id']}")).status_code == 204


@few
@given(method=st.sampled_from(["GET", "PATCH", "DELETE"]), identifier=ids)
async def test_an_id_is_read_strictly(
    client: httpx.AsyncClient, method: str, identifier: str
) -> None:
    body = {"name": "Cog"} if method == "PATCH" else None
    response = await client.request(
        method,
        httpx.URL(BASE_URL).copy_with(raw_path=b"/widgets/" + escaped(identifier)),
        json=body,
    )

    check(response)
    assert response.status_code in {404, 422} or identifier == ""


@few
@given(
    cursor=st.one_of(utf_8_text, st.binary(max_size=99).map(bytes.hex)),
    query=st.fixed_dictionaries(
        {},
        optional={
            "order": st.sampled_from(["id", "-id", "name", "-name"]) | utf_8_text,
            "search": utf_8_text,
            "owner": st.just("me") | utf_8_text,
            "limit": ids,
        },
    ),
)
async def test_a_cursor_that_was_not_given_is_refused(
    client: httpx.AsyncClient, cursor: str, query: dict[str, str]
) -> None:
    response = await client.get("/widgets/", params={**query, "cursor": cursor})

    check(response)
    assert response.status_code == 422


@few
@given(query=st.dictionaries(utf_8_text, utf_8_text, max_size=4))
async def test_a_query_is_read_strictly(client: httpx.AsyncClient, query: dict[str, str]) -> None:
    response = await client.get("/widgets/", params=query)

    check(response)
    assert response.status_code == (422 if query else 200)


@few
@given(
    method=st.sampled_from(["POST", "PATCH"]),
    path=st.sampled_from(["/widgets/", "/widgets/1", "/auth/token"]),
    body=bodies,
    content_type=st.sampled_from(["application/json", "application/json; charset=utf-16", "text/a"])
    | header_values,
)
async def test_a_body_is_read_strictly(
    client: httpx.AsyncClient, method: str, path: str, body: bytes, content_type: str
) -> None:
    headers = {b"Content-Type": content_type.replace("\x00", "").encode("latin-1")}

    check(await client.request(method, path, content=body, headers=headers))


@few
@given(
    path=st.sampled_from(PATHS),
    headers=st.dictionaries(
        st.sampled_from(HEADERS),
        header_values.map(lambda value: value.replace("\x00", "").encode("latin-1")),
        max_size=4,
    ),
)
async def test_headers_break_nothing(
    client: httpx.AsyncClient, path: str, headers: dict[bytes, bytes]
) -> None:
    response = await client.get(path, headers=headers)

    check(response)
    assert len(response.headers["X-Request-ID"]) <= 64


@few
@given(
    method=st.sampled_from(METHODS),
    path=st.sampled_from(["", "widgets/", "widgets", "auth/", "docs", "a/dm/in"]),
    rest=utf_8_text,
    query=st.binary(max_size=60),
)
async def test_paths_break_nothing(
    client: httpx.AsyncClient, method: str, path: str, rest: str, query: bytes
) -> None:
    raw_path = b"/" + path.encode() + escaped(rest) + b"?" + escaped(query.decode("latin-1"))

    check(await client.request(method, httpx.URL(BASE_URL).copy_with(raw_path=raw_path)))
