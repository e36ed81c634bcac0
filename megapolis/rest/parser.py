"""What a request may hold: every endpoint reads it as strictly as RFC 8259 and OpenAPI write it."""

import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest
from ninja.errors import ValidationError
from ninja.parser import Parser

from megapolis.encoding import LoneSurrogate, MalformedJSON, read_json
from megapolis.errors import BadRequest, UnprocessableContent, UnsupportedMediaType

UTF_8 = ("utf-8", "utf8")
MAX_VALUES = 20_000
"""In one body. Each takes up to 2 µs to read, in which no other request is served."""
STRINGS = re.compile(rb'"(?:[^"\\]++|(?:\\.)++)*+"?', re.DOTALL)
"""One that is not closed reaches to the end, or its escaped quotes would each begin another."""


class StrictJSONParser(Parser):
    """Reads a JSON body with `read_json`."""

    def parse_body(self, request: HttpRequest) -> Any:
        """Return the parsed body, or raise the `ApiError` that says what is wrong with it."""
        charset = (request.content_params or {}).get("charset", "utf-8")
        if request.content_type != "application/json" or charset.lower() not in UTF_8:
            raise UnsupportedMediaType
        if request.META.get("HTTP_CONTENT_ENCODING"):
            raise UnsupportedMediaType("The body must not be compressed")
        body = request.body
        if len(body) > MAX_VALUES:
            _bound(body)
        try:
            return read_json(body)
        except LoneSurrogate as error:
            raise UnprocessableContent(f"The body {error}") from None
        except MalformedJSON as error:
            raise BadRequest(f"The body {error}") from None


def strict_query(view: Callable[..., Any]) -> Callable[..., Any]:
    """Reject a query parameter that is unknown or repeated.

    Ninja ignores the one and takes the last of the other, so that a misspelt filter would find
    everything. A decorator for `NinjaAPI.add_decorator`.
    """
    operation = view._ninja_operation  # type: ignore[attr-defined] # Ninja sets it
    models = [model for model in operation.models if model.__ninja_param_source__ == "query"]
    names = {name for model in models for name in model.__ninja_flatten_map__}
    lists = {name for model in models for name in model.__ninja_collection_fields__}

    @wraps(view)
    def strict_view(request: HttpRequest, **values: Any) -> Any:
        errors = []
        if request.META["QUERY_STRING"]:
            for name, found in request.GET.lists():
                if name not in names:
                    errors.append({"loc": ("query", name), "msg": "There is no such parameter"})
                elif len(found) > 1 and name not in lists:
                    errors.append({"loc": ("query", name), "msg": "Given more than once"})
        if errors:
            raise ValidationError(errors)
        return view(request, **values)

    return strict_view


def _bound(body: bytes) -> None:
    """Reject a body of too many values before it is read. Commas in strings do not count."""
    if _count(body) > MAX_VALUES and _count(STRINGS.sub(b"", body, MAX_VALUES)) > MAX_VALUES:
        raise BadRequest(f"The body has more than {MAX_VALUES} values")


def _count(json_text: bytes) -> int:
    """Return the number of commas and opening brackets: that of the values, or a little more."""
    return sum(map(json_text.count, (b",", b"[", b"{")))
