"""Problem documents (RFC 9457): the form in which every error is answered."""

from collections.abc import Mapping
from http import HTTPStatus

import orjson
from django.http import HttpResponse
from pydantic import BaseModel, Field

from megapolis.logger import request_id

PROBLEM_JSON = "application/problem+json"


RFC_9110_TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}


class FieldProblem(BaseModel):
    """One invalid value. ``pointer`` is a JSON pointer (RFC 6901) into body, query or path."""

    pointer: str = Field(examples=["/body/name"])
    message: str


class Problem(BaseModel):
    """RFC 9457. ``request_id`` finds the request in the log of the service."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[FieldProblem] | None = None


def title(status: int) -> str:
    """Return the status's name in RFC 9110, which Python 3.12 does not know for all of them."""
    return RFC_9110_TITLES.get(status) or HTTPStatus(status).phrase


def problem_document(
    status: int, detail: str, *, request_id: str, errors: list[FieldProblem] | None = None
) -> bytes:
    """Return the body of an error: the only place that writes a problem document."""
    problem = Problem(
        title=title(status), status=status, detail=detail, request_id=request_id, errors=errors
    )
    return orjson.dumps(problem.model_dump(exclude_none=True))


def problem_response(
    *,
    status: int,
    detail: str,
    headers: Mapping[str, str] | None = None,
    errors: list[FieldProblem] | None = None,
) -> HttpResponse:
    """Return Django's response with a problem document."""
    document = problem_document(status, detail, request_id=request_id.get(), errors=errors)
    return HttpResponse(document, status=status, content_type=PROBLEM_JSON, headers=headers)
