"""The OpenAPI document is a product: complete, committed, and true."""

import difflib
import json
from io import StringIO
from typing import Any

import httpx
import pytest
from django.core.management import call_command

from megapolis import environment

COMMITTED = environment.BASE_DIR / "docs" / "openapi.json"
PUBLIC = {("post", "/auth/token")}
"""The operations that need no token. A new one is a decision, not an accident."""


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The committed document."""
    loaded: dict[str, Any] = json.loads(COMMITTED.read_text())
    return loaded


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method, path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def exported() -> str:
    output = StringIO()
    call_command("export_openapi_schema", stdout=output)
    return output.getvalue()


def test_the_committed_document_is_the_one_of_the_code() -> None:
    difference = difflib.unified_diff(
        COMMITTED.read_text().splitlines(),
        exported().splitlines(),
        "docs/openapi.json",
        "the code (make openapi)",
        lineterm="",
    )

    assert not (lines := "\n".join(difference)), lines


async def test_the_service_shows_the_same_document(anonymous: httpx.AsyncClient) -> None:
    response = await anonymous.get("/openapi.json")

    assert response.headers["Content-Type"] == "application/json"
    assert response.json() == json.loads(exported())


async def test_the_documentation_needs_nothing_from_elsewhere(
    anonymous: httpx.AsyncClient,
) -> None:
    response = await anonymous.get("/docs")

    assert response.status_code == 200
    assert "//" not in response.text.replace("http://www.w3.org", "")
    assert "'unsafe-eval'" not in response.headers["Content-Security-Policy"]


def test_nothing_else_is_public(document: dict[str, Any]) -> None:
    public = {key for key, found in operations(document).items() if not found.get("security")}

    assert public == PUBLIC


async def test_what_is_not_public_asks_for_a_token(
    anonymous: httpx.AsyncClient, document: dict[str, Any]
) -> None:
    for method, path in operations(document).keys() - PUBLIC:
        response = await anonymous.request(method.upper(), path.replace("{", "").replace("}", ""))
        assert response.status_code == 401, (method, path)
        assert response.headers["WWW-Authenticate"].startswith("Bearer")


def test_every_operation_declares_what_it_can_answer(document: dict[str, Any]) -> None:
    for key, operation in operations(document).items():
        declared = operation["responses"]
        assert {"400", "413", "422", "503"} <= declared.keys(), key
        assert ("401" in declared) or key in PUBLIC
        assert ("415" in declared) == ("requestBody" in operation), key
        for status, response in declared.items():
            problem = {"schema": {"$ref": "#/components/schemas/Problem"}}
            expected = {"application/problem+json": problem}
            assert (response.get("content") == expected) == (int(status) >= 400), key
        assert list(declared) == sorted(declared)


def test_every_operation_is_described(document: dict[str, Any]) -> None:
    found = operations(document).values()

    assert all(operation["description"] and operation["tags"] for operation in found)
    assert len({operation["operationId"] for operation in found}) == len(found)


def test_schemas_refuse_what_they_do_not_know(document: dict[str, Any]) -> None:
    for operation in operations(document).values():
        for media in operation.get("requestBody", {}).get("content", {}).values():
            name = media["schema"]["$ref"].rpartition("/")[2]
            assert document["components"]["schemas"][name]["additionalProperties"] is False


def test_parameters_have_bounds_and_no_null(document: dict[str, Any]) -> None:
    limits = [
        parameter["schema"]
        for operation in operations(document).values()
        for parameter in operation["parameters"]
        if parameter["name"] == "limit"
    ]

    assert limits
    assert all((limit["minimum"], limit["maximum"]) == (1, 100) for limit in limits)
    parameters = [operation["parameters"] for operation in operations(document).values()]
    assert "null" not in json.dumps(parameters)


def test_every_text_that_comes_in_has_a_maximum(document: dict[str, Any]) -> None:
    """Apart from a Supabase token: what is too long is an invalid token, which is a 401."""
    schemas = document["components"]["schemas"]
    bodies = [name for name in schemas if name.endswith("Request") and name != "TokenRequest"]
    incoming = [
        *(value for name in bodies for value in schemas[name]["properties"].values()),
        *(
            parameter["schema"]
            for operation in operations(document).values()
            for parameter in operation.get("parameters", [])
        ),
    ]
    texts = [value for value in incoming if value.get("type") == "string"]

    assert texts
    assert not [
        value for value in texts if not {"maxLength", "enum", "const", "format"} & value.keys()
    ]
