"""Errors, the documents that report them, and the handler of exceptions."""

from megapolis.errors.exceptions import (
    ApiError,
    BadRequest,
    Conflict,
    Forbidden,
    NotFound,
    PayloadTooLarge,
    ServiceUnavailable,
    Unauthorized,
    UnprocessableContent,
    UnsupportedMediaType,
)
from megapolis.errors.problems import (
    PROBLEM_JSON,
    FieldProblem,
    Problem,
    problem_document,
    problem_response,
    title,
)

__all__ = [
    "PROBLEM_JSON",
    "ApiError",
    "BadRequest",
    "Conflict",
    "FieldProblem",
    "Forbidden",
    "NotFound",
    "PayloadTooLarge",
    "Problem",
    "ServiceUnavailable",
    "Unauthorized",
    "UnprocessableContent",
    "UnsupportedMediaType",
    "problem_document",
    "problem_response",
    "title",
]
