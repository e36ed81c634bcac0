"""Django Ninja, as strict as the contract: JSON in, JSON out, problem+json for what goes wrong."""

import json
from typing import Any, NoReturn

import orjson
from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation
from ninja.parser import Parser
from ninja.renderers import BaseRenderer

from megapolis.errors import (
    PROBLEM_JSON,
    ApiError,
    BadRequest,
    Problem,
    UnprocessableContent,
    UnsupportedMediaType,
    exception_response,
    title,
)


class StrictJSONParser(Parser):
    """Reads JSON as RFC 8259 writes it: UTF-8, no NaN, no name twice, nothing that is no text."""

    def parse_body(self, request: HttpRequest) -> Any:
        """Return the parsed body, or raise the `ApiError` that says what is wrong with it."""
        if request.content_type != "application/json":
            raise UnsupportedMediaType
        try:
            text = request.body.decode()
            data = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
        except ApiError:
            raise
        except (ValueError, RecursionError):
            raise BadRequest("The body is not valid JSON") from None
        if "\\u" in text:
            _refuse_lone_surrogates(data)
        return data


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

    def on_exception(self, request: HttpRequest, exc: Any) -> HttpResponse:
        """Answer whatever was raised, in the one place where errors become answers."""
        return exception_response(request, exc)

    def get_content_type(self) -> str:
        """JSON has no charset parameter (RFC 8259, section 11)."""
        return "application/json"

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
                _declare_problems(operation)
        return schema


def _declare_problems(operation: dict[str, Any]) -> None:
    responses = {str(status): found for status, found in operation["responses"].items()}
    statuses = {400, 503}
    if "security" in operation:
        statuses.add(401)
    if "requestBody" in operation:
        statuses |= {413, 415, 422}
    if operation["parameters"]:
        statuses.add(422)
    statuses |= {int(status) for status in responses if int(status) >= 400}
    for status in sorted(statuses):
        responses[str(status)] = {
            "description": title(status),
            "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    operation["responses"] = responses


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise BadRequest("The body has a name twice in one object")
    return result


def _refuse_constant(name: str) -> NoReturn:
    raise BadRequest(f"The body is not valid JSON: {name} is no number")


def _refuse_lone_surrogates(data: Any) -> None:
    try:
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise UnprocessableContent("The body has a lone surrogate, which is no text") from None
