"""What a request may hold: every endpoint reads it as strictly as RFC 8259 and OpenAPI write it."""

import json
import re
from collections.abc import Callable
from functools import wraps
from typing import Any, NoReturn

from django.http import HttpRequest
from ninja.errors import ValidationError
from ninja.parser import Parser

from megapolis.errors import ApiError, BadRequest, UnprocessableContent, UnsupportedMediaType

UTF_8 = ("utf-8", "utf8")
MAX_FIELDS = 1000
"""In one object, as Django allows in one query or form: each could be an error to report."""
MAX_VALUES = 20_000
"""In one body. Each takes up to 2 µs to read, in which no other request is served."""
STRINGS = re.compile(rb'"(?:[^"\\]++|(?:\\.)++)*+"?', re.DOTALL)
"""One that is not closed reaches to the end, or its escaped quotes would each begin another."""


class StrictJSONParser(Parser):
    """Reads JSON as RFC 8259 writes it: UTF-8, no NaN, no name twice, nothing that is no text."""

    def parse_body(self, request: HttpRequest) -> Any:
        """Return the parsed body, or raise the `ApiError` that says what is wrong with it."""
        charset = (request.content_params or {}).get("charset", "utf-8")
        if request.content_type != "application/json" or charset.lower() not in UTF_8:
            raise UnsupportedMediaType
        if request.META.get("HTTP_CONTENT_ENCODING"):
            raise UnsupportedMediaType("The body must not be compressed")
        try:
            body = request.body
            if len(body) > MAX_VALUES:
                _bound(body)
            text = body.decode()
            data = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
            if "\\u" in text:
                _refuse_lone_surrogates(data)
        except ApiError:
            raise
        except (ValueError, RecursionError):
            raise BadRequest("The body is not valid JSON") from None
        return data


def strict_query(view: Callable[..., Any]) -> Callable[..., Any]:
    """Refuse a query parameter that the endpoint does not have, or that comes twice.

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


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_FIELDS:
        raise BadRequest(f"The body has more than {MAX_FIELDS} names in one object")
    result = dict(pairs)
    if len(result) != len(pairs):
        raise BadRequest("The body has a name twice in one object")
    return result


def _refuse_constant(name: str) -> NoReturn:
    raise BadRequest(f"The body is not valid JSON: {name} is no number")


def _refuse_lone_surrogates(data: Any) -> None:
    """Look at each text. To write JSON again would find them, too, but long numbers take time."""
    pending = [data]
    try:
        while pending:
            value = pending.pop()
            if isinstance(value, str):
                value.encode()
            elif isinstance(value, list):
                pending += value
            elif isinstance(value, dict):
                pending += [*value.keys(), *value.values()]
    except UnicodeEncodeError:
        raise UnprocessableContent("The body has a lone surrogate, which is no text") from None
