from datetime import UTC, datetime
from typing import Any

import pytest
from django.http import HttpRequest
from django.test import RequestFactory
from ninja import Query, Router
from ninja.security import HttpBearer
from pydantic import BaseModel

from megapolis.errors.problems import Problem
from megapolis.rest.ninja_api import Api


class Filters(BaseModel):
    """Parameters of every kind."""

    either: int | str | None = None
    maybe: int | None = None
    number: int = 1


class Token(HttpBearer):
    """Let everybody in."""

    async def authenticate(self, request: HttpRequest, token: str) -> str:
        return token


router = Router(tags=["things"])


@router.get("/things/")
async def list_things(request: HttpRequest, filters: Query[Filters]) -> None:
    """Things."""


@router.post("/things/", auth=Token(), response={201: Filters, 409: Problem, 429: Problem})
async def create_thing(request: HttpRequest, payload: Filters) -> None:
    """Make a thing."""


api = Api(title="Things", urls_namespace="things")
api.add_router("", router)


@pytest.fixture(scope="module")
def paths() -> Any:
    """The paths of the OpenAPI document."""
    return api.get_openapi_schema(path_prefix="")["paths"]["/things/"]


class TestOpenAPI:
    def test_has_no_null_in_a_query(self, paths: Any) -> None:
        schemas = {p["name"]: p["schema"] for p in paths["get"]["parameters"]}

        assert schemas["either"]["anyOf"] == [{"type": "integer"}, {"type": "string"}]
        assert schemas["maybe"] == {"title": "Maybe", "type": "integer"}
        assert schemas["number"] == {"default": 1, "title": "Number", "type": "integer"}

    @pytest.mark.parametrize(
        ("method", "statuses"),
        [
            ("get", ["200", "400", "413", "422", "431", "503"]),
            ("post", ["201", "400", "401", "409", "413", "415", "422", "429", "431", "503"]),
        ],
    )
    def test_declares_what_any_endpoint_can_answer(
        self, paths: Any, method: str, statuses: list[str]
    ) -> None:
        assert list(paths[method]["responses"]) == statuses

    @pytest.mark.parametrize(
        ("status", "header"),
        [
            ("201", "Location"),
            ("401", "WWW-Authenticate"),
            ("429", "Retry-After"),
            ("503", "Retry-After"),
        ],
    )
    def test_declares_the_header_that_comes_with_a_status(
        self, paths: Any, status: str, header: str
    ) -> None:
        assert list(paths["post"]["responses"][status]["headers"]) == [header]

    def test_names_operations_as_their_functions(self, paths: Any) -> None:
        assert paths["get"]["operationId"] == "list_things"
        assert paths["post"]["operationId"] == "create_thing"


def test_moments_are_written_in_utc() -> None:
    request = RequestFactory().get("/")

    response = api.create_response(request, {"at": datetime(2026, 1, 2, tzinfo=UTC)}, status=200)

    assert response.content == b'{"at":"2026-01-02T00:00:00Z"}'
    assert response.headers["Content-Type"] == "application/json"
