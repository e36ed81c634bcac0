"""Bodies, types and parameters that are not what the endpoints of widgets read."""

import json

import httpx
import pytest

from tests.widgets.conftest import pointers, problem
from widgets.schemas import WidgetResponse

JSON = {"Content-Type": "application/json"}
BODY = b'{"name": "Sprocket"}'


@pytest.fixture(params=["POST", "PATCH"])
def address(request: pytest.FixtureRequest, widget: WidgetResponse) -> tuple[str, str]:
    """The method and path of each endpoint that reads a body."""
    return request.param, "/widgets/" if request.param == "POST" else f"/widgets/{widget.id}"


class TestContentType:
    @pytest.mark.parametrize(
        "content_type",
        [
            None,
            "",
            "text/plain",
            "text/json",
            "application/problem+json",
            "application/jsonp",
            "application/json, application/json",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/json; charset=utf-16",
            "application/json; charset=latin-1",
            "application/json; charset=hex",
            "application/json; charset=",
            "*/*",
            "json",
        ],
    )
    async def test_other_than_json_is_refused(
        self, client: httpx.AsyncClient, address: tuple[str, str], content_type: str | None
    ) -> None:
        headers = {} if content_type is None else {"Content-Type": content_type}

        problem(await client.request(*address, content=BODY, headers=headers), 415)

    @pytest.mark.parametrize(
        "content_type",
        [
            "Application/JSON",
            "application/json;charset=UTF-8",
            'application/json; charset="utf-8"',
            "application/json; charset=utf8",
            "application/json; profile=x",
        ],
    )
    async def test_json_in_utf_8_is_read(
        self, client: httpx.AsyncClient, content_type: str
    ) -> None:
        headers = {"Content-Type": content_type}

        response = await client.post("/widgets/", content=BODY, headers=headers)

        assert response.status_code == 201


class TestBody:
    @pytest.mark.parametrize(
        "body",
        [
            b"{",
            b"{]",
            b"name=Sprocket",
            b"{'name': 'Sprocket'}",
            b'{"name": "Sprocket"} {}',
            b'{"name": "Sprocket",}',
            b'{"name": "Spro\ncket"}',
            b'{"name": "Spro\x00cket"}',
            b'{"name": "\\x41"}',
            b'{"name": "\xff"}',
            b'{"name": "\xed\xa0\x80"}',
            b'{"name": NaN}',
            b'{"name": -Infinity}',
            b'{"name": "a", "name": "b"}',
            b'{"name": "a", "n\\u0061me": "b"}',
            b'{"name": {"a": 1, "a": 1}}',
            b"\xef\xbb\xbf" + BODY,
            BODY.decode().encode("utf-16"),
            BODY.decode().encode("utf-16-le"),
            BODY.decode().encode("utf-32"),
            b" ",
            b"\x00",
            b"9" * 5_000,
            b"[" * 100_000,
            b"[" * 100_000 + b"]" * 100_000,
            b'{"name":' * 100_000 + b"1" + b"}" * 100_000,
        ],
        ids=range(26),
    )
    async def test_that_is_not_json_is_refused(
        self, client: httpx.AsyncClient, address: tuple[str, str], body: bytes
    ) -> None:
        response = await client.request(*address, content=body, headers=JSON)

        assert problem(response, 400)["detail"].startswith("The body ")

    @pytest.mark.parametrize(
        "body",
        [
            b"null",
            b"[]",
            b"[" + BODY + b"]",
            b'"Sprocket"',
            b"7",
            b"1e999",
            b"true",
            b'{"name": 1e999}',
            b'{"name": ' + b"9" * 4_000 + b"}",
            b'{"name": "\\ud800"}',
            b'{"name": "\\udc00\\ud800"}',
            b'{"\\ud800": "Sprocket"}',
            b'{"name": "\\u0000"}',
            b'{"name": "a", "Name": "b"}',
            b'{"name": ["\\u0041' + b'", ["' * 500 + b'"' + b"]" * 501 + b"}",
        ],
        ids=range(15),
    )
    async def test_that_says_something_else_is_refused(
        self, client: httpx.AsyncClient, address: tuple[str, str], body: bytes
    ) -> None:
        problem(await client.request(*address, content=body, headers=JSON), 422)

    @pytest.mark.parametrize("depth", [900, 5_000, 9_000, 20_000])
    async def test_of_any_depth_is_refused(self, client: httpx.AsyncClient, depth: int) -> None:
        body = b'{"name": "\\u0041", "x": ' + b"[" * depth + b"]" * depth + b"}"

        response = await client.post("/widgets/", content=body, headers=JSON)

        assert response.status_code in {400, 422}

    @pytest.mark.parametrize("headers", [{}, JSON])
    async def test_cannot_be_missing(
        self, client: httpx.AsyncClient, address: tuple[str, str], headers: dict[str, str]
    ) -> None:
        assert pointers(await client.request(*address, headers=headers)) == ["/body"]

    async def test_may_escape_what_it_likes(self, client: httpx.AsyncClient) -> None:
        body = b'\r\n{"n\\u0061me" :\t"\\ud83e\\uddf0 \\u00e9"} '

        response = await client.post("/widgets/", content=body, headers=JSON)

        assert response.json()["name"] == "\U0001f9f0 \u00e9"

    async def test_beyond_the_limit_is_refused(self, client: httpx.AsyncClient) -> None:
        body = json.dumps({"name": "x" * 1024 * 1024}).encode()

        problem(await client.post("/widgets/", content=body, headers=JSON), 413)

    @pytest.mark.parametrize(("fields", "status"), [(1_000, 422), (1_001, 400), (90_000, 400)])
    async def test_has_a_thousand_fields_at_most(
        self, client: httpx.AsyncClient, fields: int, status: int
    ) -> None:
        body = {str(number): 1 for number in range(fields)}

        problem(await client.post("/widgets/", json=body), status)

    @pytest.mark.parametrize(
        "value", ["1", "1e9", "[]", "{}", '""', "[[]]", '{"a": 1}', "null", '"\\u0041"']
    )
    async def test_has_twenty_thousand_values_at_most(
        self, client: httpx.AsyncClient, value: str
    ) -> None:
        few, many = (f'{{"name": [{", ".join([value] * size)}]}}' for size in (6_000, 20_001))

        problem(await client.post("/widgets/", content=few, headers=JSON), 422)
        refused = problem(await client.post("/widgets/", content=many, headers=JSON), 400)
        assert refused["detail"] == "The body has more than 20000 values"

    @pytest.mark.parametrize("text", [",", "{[", '\\",', "\\\\,", '\\"{\\"a\\": [1, 2]}'])
    async def test_may_have_any_number_of_commas_in_its_texts(
        self, client: httpx.AsyncClient, text: str
    ) -> None:
        body = f'{{"name": "{text * 25_000}"}}'

        assert pointers(await client.post("/widgets/", content=body, headers=JSON)) == [
            "/body/name"
        ]


class TestQuery:
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/widgets/"),
            ("POST", "/widgets/"),
            ("GET", "/widgets/1"),
            ("PATCH", "/widgets/1"),
            ("DELETE", "/widgets/1"),
            ("GET", "/auth/me"),
        ],
    )
    @pytest.mark.parametrize("name", ["x", "Limit", "", "limit[]", "\u00e9", "a/~"])
    async def test_has_no_unknown_parameter(
        self, client: httpx.AsyncClient, method: str, path: str, name: str
    ) -> None:
        body = {"name": "Cog"} if method in {"POST", "PATCH"} else None

        response = await client.request(method, path, params={name: "1"}, json=body)

        assert pointers(response) == [
            f"/query/{name.replace('~', '~0').replace('a/', 'a~1')}".rstrip("/")
        ]

    async def test_has_each_parameter_once(self, client: httpx.AsyncClient) -> None:
        response = await client.get("/widgets/?limit=1&order=id&limit=1&order=name")

        assert pointers(response) == ["/query/limit", "/query/order"]

    async def test_changes_nothing_when_it_is_refused(
        self, client: httpx.AsyncClient, widget: WidgetResponse
    ) -> None:
        await client.delete(f"/widgets/{widget.id}?force=1")

        assert (await client.get(f"/widgets/{widget.id}")).status_code == 200

    async def test_is_looked_at_after_the_token(self, anonymous: httpx.AsyncClient) -> None:
        problem(await anonymous.get("/widgets/?x=1"), 401)

    @pytest.mark.parametrize("query", ["", "&&", "&"])
    async def test_may_be_empty(self, client: httpx.AsyncClient, query: str) -> None:
        assert (await client.get(f"/widgets/?{query}")).status_code == 200
