"""What HTTP itself promises: HEAD, OPTIONS, other methods, redirects, types."""

import httpx
import pytest

from tests.widgets.conftest import problem
from widgets.schemas import WidgetResponse

ALLOWED = {
    "/widgets/": "GET, HEAD, OPTIONS, POST",
    "/widgets/1": "DELETE, GET, HEAD, OPTIONS, PATCH",
}


@pytest.mark.parametrize("path", ["/widgets/", "/widgets/{id}", "/widgets/?limit=1&order=name"])
async def test_head_is_get_without_the_body(
    client: httpx.AsyncClient, widget: WidgetResponse, path: str
) -> None:
    path = path.format(id=widget.id)
    got = await client.get(path, headers={"X-Request-ID": "same"})

    response = await client.head(path, headers={"X-Request-ID": "same"})

    assert (response.status_code, response.content) == (200, b"")
    assert response.headers == got.headers
    assert int(response.headers["Content-Length"]) == len(got.content)


@pytest.mark.parametrize(("path", "status"), [("/widgets/0", 422), ("/widgets/1", 404)])
async def test_head_has_the_status_of_get(
    client: httpx.AsyncClient, path: str, status: int
) -> None:
    assert (await client.head(path)).status_code == status


@pytest.mark.parametrize(("path", "allowed"), ALLOWED.items())
async def test_options_names_the_methods(
    anonymous: httpx.AsyncClient, path: str, allowed: str
) -> None:
    response = await anonymous.options(path)

    assert (response.status_code, response.content) == (204, b"")
    assert response.headers["Allow"] == allowed


@pytest.mark.parametrize("method", ["PUT", "TRACE", "WEIRD"])
@pytest.mark.parametrize(("path", "allowed"), ALLOWED.items())
async def test_other_methods_are_refused(
    client: httpx.AsyncClient, method: str, path: str, allowed: str
) -> None:
    response = await client.request(method, path)

    problem(response, 405)
    assert response.headers["Allow"] == allowed


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("query", ["", "?limit=1&search=%C3%A9%20%2F"])
async def test_the_missing_slash_is_a_redirect(
    client: httpx.AsyncClient, method: str, query: str
) -> None:
    response = await client.request(method, f"/widgets{query}")

    assert response.status_code == 307
    assert response.headers["Location"] == f"/widgets/{query}"


async def test_the_redirect_keeps_method_and_body(client: httpx.AsyncClient) -> None:
    response = await client.post("/widgets", json={"name": "Sprocket"}, follow_redirects=True)

    assert response.status_code == 201
    assert [hop.status_code for hop in response.history] == [307]


@pytest.mark.parametrize("path", ["/widgets/1/", "/widgets//", "/Widgets/", "/widget", "/nothing/"])
async def test_there_is_nothing_elsewhere(client: httpx.AsyncClient, path: str) -> None:
    problem(await client.get(path), 404)


async def test_an_answer_is_json_that_nobody_keeps(client: httpx.AsyncClient) -> None:
    response = await client.get("/widgets/")

    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "*/*", ""])
async def test_an_answer_is_json_whatever_is_asked_for(
    client: httpx.AsyncClient, accept: str
) -> None:
    response = await client.get("/widgets/", headers={"Accept": accept})

    assert response.headers["Content-Type"] == "application/json"
