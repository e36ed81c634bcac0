"""Django Ninja, as strict as the contract: JSON in, JSON out, problem+json for what goes wrong."""

from typing import Any

import orjson
from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation
from ninja.renderers import BaseRenderer

from megapolis.errors.exception_handler import exception_response
from megapolis.errors.problems import PROBLEM_JSON, Problem, title
from megapolis.rest.parser import StrictJSONParser, strict_query

HEADERS: dict[int, tuple[str, str, dict[str, str]]] = {
    201: ("Location", "Where the new resource is.", {"type": "string"}),
    401: ("WWW-Authenticate", "RFC 6750, section 3.", {"type": "string"}),
    429: ("Retry-After", "In seconds.", {"type": "integer"}),
    503: ("Retry-After", "In seconds.", {"type": "integer"}),
}
"""The header that an answer with this status always has."""


class ORJSONRenderer(BaseRenderer):
    """Writes JSON."""

    media_type = "application/json"

    def render(self, request: HttpRequest, data: Any, *, response_status: int) -> bytes:
        """Return the bytes of the body."""
        return orjson.dumps(data, option=orjson.OPT_UTC_Z)


class Api(NinjaAPI):
    """The API object: its errors, its names and its OpenAPI document are those of the contract."""

    def __init__(self, **options: Any):
        super().__init__(
            parser=StrictJSONParser(),
            renderer=ORJSONRenderer(),
            # Ninja's views of these two are synchronous; `megapolis.urls` has ours.
            openapi_url=None,
            docs_url=None,
            **options,
        )
        self.add_decorator(strict_query)

    def on_exception(self, request: HttpRequest, exc: Any) -> HttpResponse:
        """Answer whatever was raised, in the one place where errors become answers."""
        return exception_response(exc)

    def get_content_type(self) -> str:
        """JSON has no charset parameter (RFC 8259, section 11)."""
        return "application/json"

    def create_temporal_response(self, request: HttpRequest) -> HttpResponse:
        """Return the response that is filled later. Ninja's is filled with text, and so encoded."""
        return HttpResponse(content_type=self.get_content_type())

    def get_openapi_operation_id(self, operation: Operation) -> str:
        """Return the function's name: generated clients name their methods after it."""
        return operation.view_func.__name__

    def get_openapi_schema(self, **options: Any) -> OpenAPISchema:
        """Return the OpenAPI document, with every status that an operation can answer."""
        schema = super().get_openapi_schema(**options)
        schema["components"]["schemas"]["Problem"] = Problem.model_json_schema(
            ref_template="#/components/schemas/{model}"
        )
        definitions = schema["components"]["schemas"]["Problem"].pop("$defs")
        schema["components"]["schemas"].update(definitions)
        for path in schema["paths"].values():
            for operation in path.values():
                _declare_parameters(operation)
                _declare_problems(operation)
        return schema


def _declare_parameters(operation: dict[str, Any]) -> None:
    """Take null out of them: it is Python's word for one that is absent, and no URL can say it."""
    for parameter in operation["parameters"]:
        schema = parameter["schema"]
        choices = [choice for choice in schema.pop("anyOf", []) if choice != {"type": "null"}]
        if len(choices) == 1:
            schema.update(choices[0])
        elif choices:
            schema["anyOf"] = choices


def _declare_problems(operation: dict[str, Any]) -> None:
    declared = operation["responses"]
    problems = {status for status in declared if status >= 400} | {400, 413, 422, 431, 503}
    if "security" in operation:
        problems.add(401)
    if "requestBody" in operation:
        problems.add(415)
    for status in problems:
        declared[status] = {
            "description": title(status),
            "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    for status in declared.keys() & HEADERS.keys():
        name, description, schema = HEADERS[status]
        declared[status]["headers"] = {name: {"description": description, "schema": schema}}
    operation["responses"] = {str(status): declared[status] for status in sorted(declared)}
