"""Every error is one problem+json, whoever raised it."""

import json
from typing import Any

import httpx
import pytest
from django.core.exceptions import (
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
    TooManyFieldsSent,
)
from django.http import Http404, HttpResponse
from django.http.multipartparser import MultiPartParserError
from django.test import RequestFactory
from ninja.errors import AuthenticationError, HttpError, Throttled, ValidationError

from accounts.tokens import InvalidToken
from megapolis import errors
from megapolis.errors import ApiError
from megapolis.errors.exception_handler import answer_exception, exception_response
from megapolis.logger import request_id

request = RequestFactory().get("/here")


def body(response: HttpResponse) -> dict[str, Any]:
    assert response.headers["Content-Type"] == "application/problem+json"
    content: dict[str, Any] = json.loads(response.content)
    assert content["status"] == response.status_code
    assert content["type"] == "about:blank"
    return content


def http_error(status: int, message: str, cause: Exception | None = None) -> HttpError:
    error = HttpError(status, message)
    error.__cause__ = cause
    return error


class TestStatus:
    @pytest.mark.parametrize(
        ("error", "status", "title"),
        [
            (errors.BadRequest(), 400, "Bad Request"),
            (errors.Unauthorized(), 401, "Unauthorized"),
            (errors.Forbidden(), 403, "Forbidden"),
            (errors.NotFound(), 404, "Not Found"),
            (errors.Conflict(), 409, "Conflict"),
            (errors.PayloadTooLarge(), 413, "Content Too Large"),
            (errors.UnsupportedMediaType(), 415, "Unsupported Media Type"),
            (errors.UnprocessableContent(), 422, "Unprocessable Content"),
            (errors.ServiceUnavailable(), 503, "Service Unavailable"),
            (Http404(), 404, "Not Found"),
            (PermissionDenied(), 403, "Forbidden"),
            (SuspiciousOperation(), 400, "Bad Request"),
            (RequestDataTooBig(), 413, "Content Too Large"),
            (TooManyFieldsSent(), 400, "Bad Request"),
            (MultiPartParserError(), 400, "Bad Request"),
            (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"), 400, "Bad Request"),
            (AuthenticationError(), 401, "Unauthorized"),
            (HttpError(402, "Pay"), 402, "Payment Required"),
            (Throttled(wait=7), 429, "Too Many Requests"),
            (http_error(400, "Cannot parse", errors.NotFound()), 404, "Not Found"),
            (http_error(400, "Cannot parse", ValueError()), 400, "Bad Request"),
        ],
    )
    def test_is_that_of_the_error(self, error: Exception, status: int, title: str) -> None:
        problem = body(exception_response(error))

        assert (problem["status"], problem["title"]) == (status, title)

    def test_of_a_feature_has_a_detail_of_its_own(self) -> None:
        class NameExists(errors.BadRequest):
            detail = "Name already exists"

        assert body(exception_response(NameExists()))["detail"] == "Name already exists"
        assert body(exception_response(NameExists("Taken")))["detail"] == "Taken"

    async def test_is_500_for_what_nobody_foresaw(self, log: list[str]) -> None:
        problem = body(await answer_exception(request, KeyError("secret")))

        assert problem["detail"] == ApiError.detail
        assert "secret" in log[0]

    def test_names_the_request(self) -> None:
        token = request_id.set("abc")
        try:
            assert body(exception_response(Http404()))["request_id"] == "abc"
        finally:
            request_id.reset(token)


class TestHeaders:
    def test_challenge_as_rfc_6750_says(self) -> None:
        none_sent = exception_response(errors.Unauthorized())
        invalid = exception_response(InvalidToken())

        assert none_sent.headers["WWW-Authenticate"] == "Bearer"
        assert invalid.headers["WWW-Authenticate"].startswith('Bearer error="invalid_token"')

    def test_say_when_to_come_again(self) -> None:
        for error, seconds in (
            (errors.ServiceUnavailable(), "1"),
            (errors.ServiceUnavailable(retry_after=7), "7"),
        ):
            assert exception_response(error).headers["Retry-After"] == seconds


class TestPointers:
    @pytest.mark.parametrize(
        ("loc", "pointer"),
        [
            (("body", "payload", "name"), "/body/name"),
            (("body", "payload", "items", 0, "na~me/x"), "/body/items/0/na~0me~1x"),
            (("body", "payload"), "/body"),
            (("query", "limit"), "/query/limit"),
            (("path", "widget_id"), "/path/widget_id"),
            (("query", "a\ud800b"), "/query/a?b"),
            (("query", "a\0b"), "/query/a\0b"),
        ],
    )
    def test_lead_to_the_value(self, loc: tuple[str | int, ...], pointer: str) -> None:
        error = ValidationError([{"loc": loc, "msg": "Value error, must not be so"}])

        [found] = body(exception_response(error))["errors"]

        assert found == {"pointer": pointer, "message": "must not be so"}

    @pytest.mark.parametrize(
        "name", ['"a\\u0000b"', '"\\ud800"', '"~/"', '"\\u202e"', f'"{"x" * 10_000}"']
    )
    async def test_lead_to_unknown_fields_whatever_their_names(
        self, client: httpx.AsyncClient, name: str
    ) -> None:
        response = await client.post(
            "/widgets/",
            content=f'{{"name": "Cog", {name}: 1}}',
            headers={"Content-Type": "application/json"},
        )

        assert response.status_code == 422
        assert response.headers["Content-Type"] == "application/problem+json"
        assert response.json()["request_id"] == response.headers["X-Request-ID"]
