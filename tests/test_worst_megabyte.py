"""What a client can send at its worst, a megabyte of it: nothing takes longer than 50 ms.

Each row of a table is something that looks at what clients send, with what is hardest for it.
"""

import importlib
import pkgutil
import re
from collections import deque
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import pytest
from django.http import QueryDict
from django.http.cookie import parse_cookie
from django.http.request import split_domain_port, validate_host
from django.test import RequestFactory
from django.utils.http import parse_header_parameters, url_has_allowed_host_and_scheme
from pydantic import TypeAdapter

import accounts
import megapolis
import widgets
from accounts import jose, tokens
from accounts.admin import sign_in_limit
from accounts.admin.forms import EmailField, SignInForm
from accounts.models import User, normalize_email, parse_email
from accounts.schemas import TokenRequest
from accounts.throttle import client_network
from megapolis import settings
from megapolis.errors.exception_handler import _field_problem
from megapolis.errors.problems import problem_response
from megapolis.http.middleware import _is_plain
from megapolis.http.request import _length
from megapolis.http.routing import resolve
from megapolis.logger.redaction import HIDING, clean, redact
from megapolis.logger.tracebacks import format_traceback
from megapolis.rest import Id, PageQuery, Text, decode_cursor
from megapolis.rest.parser import StrictJSONParser
from tests.worst_cases import MARKS, MEGABYTE, assert_linear, assert_quick, repeated
from widgets.schemas import WidgetCreateRequest, WidgetListQuery

NOT_FOR_CLIENTS = re.compile(
    r"(megapolis\.(feature_template|management|embedded|environment))(\.|$)|\w+\.migrations"
)
PARTS = (
    *(
        "eyJ",
        "eyJa",
        "eyJa.",
        "eyJ.",
        "eyJ-",
        "sb_secret_",
        "sb_secret_a ",
        "sb_",
        "bearer",
        "bearer ",
    ),
    *(
        "bearer:",
        "bearer a ",
        "Bearer\t",
        "://",
        "://a:",
        "://a:b",
        "://a:b@",
        "://:",
        "@",
        "/a:",
        ":",
    ),
    *(
        "password",
        "password=",
        "password='",
        'password="',
        "password ",
        "password = ",
        "password\\'",
    ),
    *(
        "password='\\",
        '"',
        "'",
        "\\",
        '\\"',
        '"a"',
        '"\\',
        '""',
        "{",
        "[",
        ",",
        " ",
        "\t",
        "\n",
        "=",
    ),
    *("a", "9", "0", "1_", ".", "-", "_", "\x1b", "\u0300\u0316", "\u3000", "\U000e0001", "\ud800"),
)
"""What patterns begin with, nearly match, or fail at late, each to be repeated."""


def patterns() -> Iterator[tuple[str, "re.Pattern[Any]"]]:
    """Yield every pattern of the modules that requests come by."""
    for package in (megapolis, accounts, widgets):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if NOT_FOR_CLIENTS.match(found.name):
                continue
            for name, value in vars(importlib.import_module(found.name)).items():
                if isinstance(value, re.Pattern):
                    yield f"{found.name}.{name}", value
    yield from ((f"HIDING {number}", pattern) for number, (_, pattern) in enumerate(HIDING))


PATTERNS = dict(patterns())


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern(name: str) -> None:
    pattern = PATTERNS[name]
    beginnings = [
        (beginning, part)
        for beginning in ("password", "password='", "bearer", "://a:", "eyJ")
        for part in (" ", "a", "\\", ":")
    ]
    for beginning, part in [*(("", part) for part in PARTS), *beginnings]:

        def work(
            size: int, *, beginning: str = beginning, part: str = part
        ) -> Callable[[], object]:
            text: Any = f"{beginning}{repeated(part, size)}"
            if isinstance(pattern.pattern, bytes):
                text = text.encode(errors="replace")
            return lambda: deque(pattern.finditer(text), maxlen=0)

        assert_linear(work)


def test_the_patterns_are_found() -> None:
    assert {
        "megapolis.rest.types._CONTROL",
        "megapolis.rest.parser.STRINGS",
        "accounts.tokens.ID",
    } <= {*PATTERNS}
    assert len(PATTERNS) > 10


def chained(text: str) -> Any:
    """Return an exception whose message, cause and notes are the text."""
    try:
        try:
            raise ValueError(text)
        except ValueError as error:
            error.add_note(text)
            raise ExceptionGroup(text, [KeyError(text), OSError(text)]) from error
    except ExceptionGroup as group:
        return type(group), group, group.__traceback__


def parse_json(body: bytes) -> Any:
    request: Any = RequestFactory().generic("POST", "/", body, content_type="application/json")
    return StrictJSONParser().parse_body(request)


def joined(value: bytes, before: bytes = b"[", after: bytes = b"]") -> bytes:
    """Return a megabyte of JSON: an array of this value."""
    return before + b",".join([value] * (MEGABYTE // (len(value) + 1))) + after


def multipart(body: str) -> Any:
    content_type = "multipart/form-data; boundary=x"
    request = RequestFactory().generic("POST", "/", body.encode(), content_type=content_type)
    return request.POST, request.FILES


def part(value: str, headers: str = "", disposition: str = "") -> str:
    start = f'--x\r\nContent-Disposition: form-data; name="a"{disposition}\r\n{headers}\r\n'
    return f"{start}{value}\r\n--x--\r\n"


TEXTS = {part: repeated(part) for part in PARTS} | {
    "marks": MARKS,
    "marks of many kinds": repeated("".join(map(chr, range(0x300, 0x370)))),
    "Hangul": repeated("\u1112\u1161\u11ab"),
    "singletons": repeated("\u212b\ufdfa"),
    "starters that compose": repeated("\u0fb2\u0f71\u0f80"),
    "marks, 30 at a time": repeated("a" + "\u0300\u0316" * 15),
    "blanks around": " " * (MEGABYTE // 2) + "a" + "\u3000" * (MEGABYTE // 6),
    "percent": repeated("%CC%80"),
}
"""A megabyte in UTF-8 each, whoever reads it."""

name = TypeAdapter[str](Annotated[str, Text(max_length=255)])
long_text = TypeAdapter[str](Annotated[str, Text(max_length=MEGABYTE)])
"""No feature has one: the longest that there might be."""
identifier = TypeAdapter[int](Id)
keys = TypeAdapter[tuple[int]](tuple[int])

READERS: dict[str, Callable[[str], object]] = {
    "a log message": clean,
    "a traceback": lambda text: format_traceback(chained(text)),
    "Text(255)": name.validate_python,
    "Id": identifier.validate_python,
    "a new widget": lambda text: WidgetCreateRequest.model_validate({"name": text}),
    "the list of widgets": lambda text: WidgetListQuery.model_validate(
        {"search": text, "owner": text, "order": text, "cursor": text, "limit": text}
    ),
    "a page": lambda text: PageQuery.model_validate({"cursor": text}),
    "a cursor": lambda text: decode_cursor(text, context="", key=keys),
    "an exchange": lambda text: TokenRequest.model_validate({"access_token": text}),
    "a token of Supabase": jose.parse,
    "our token": tokens.read,
    "an address of an email": normalize_email,
    "a typed email": parse_email,
    "an email in a form": lambda text: EmailField(max_length=254).clean(text),
    "the sign-in form": lambda text: SignInForm(None, {"username": text, "password": text})[
        "username"
    ].field.clean(text),
    "the account of an attempt": sign_in_limit._account,
    "a user's fields": lambda text: User(email=text).clean(),
    "a request id": _is_plain,
    "a client's address": client_network,
    "a content length": lambda text: _length(text.encode(errors="replace")),
    "a path": lambda text: resolve(f"/{text}"),
    "a pointer": lambda text: _field_problem({"loc": ("body", "payload", text), "msg": ""}),
    "a problem": lambda text: problem_response(status=400, detail=text),
    "the URLs of CORS": settings.CORS_URLS_REGEX.match,
    "where to go after signing in": lambda text: url_has_allowed_host_and_scheme(f"//{text}", None),
}
"""What reads text that clients send."""


@pytest.mark.parametrize("reader", READERS)
def test_a_text(reader: str) -> None:
    for text in TEXTS.values():
        assert_quick(lambda text=text: READERS[reader](text))  # type: ignore[misc]


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_of_any_maximum(name: str) -> None:
    def work(size: int) -> Callable[[], object]:
        text = TEXTS[name][: len(TEXTS[name]) * size // MEGABYTE]
        return lambda: long_text.validate_python(text)

    assert_linear(work)


HEAD_READERS: dict[str, Callable[[str], object]] = {
    "cookies": parse_cookie,
    "Content-Type": parse_header_parameters,
    "Host": lambda text: (split_domain_port(text), validate_host(text, [".example.com"])),
    "a query": QueryDict,
    "redacting": redact,
}
HEAD = 65_536


@pytest.mark.parametrize("reader", HEAD_READERS)
def test_a_field_of_a_head(reader: str) -> None:
    """A head has 64 KiB at the most."""
    for text in (
        "a=b;",
        'a="\\',
        "a;",
        "a&",
        "%",
        "%CC%80",
        "a:",
        "[:",
        "a.",
        "a*=utf-8''%",
        *PARTS,
    ):
        assert_quick(lambda text=text: HEAD_READERS[reader](repeated(text, HEAD)))  # type: ignore[misc]


JSON = {
    "objects": joined(b"{}"),
    "arrays": joined(b"[]"),
    "numbers": joined(b"1"),
    "objects and escapes": joined(b"{}", b'["\\u0041",'),
    "members": joined(b'{"a":1}'),
    "members of one object": b"{"
    + b",".join(b'"%d":1' % number for number in range(90_000))
    + b"}",
    "texts": joined(b'""'),
    "escaped texts": joined(b'"\\u0041"'),
    "one escaped text": b'"' + b"\\ud83e\\uddf0" * (MEGABYTE // 12) + b'"',
    "an open text": b'"' + b"\\" * MEGABYTE,
    "quotes": b'"' * MEGABYTE,
    "an open text of escaped quotes": b'"' + b'\\"' * (MEGABYTE // 2) + b"," * 20_001,
    "an open text of commas": b'"' + b",\\" * (MEGABYTE // 2),
    "long integers": joined(b"9" * 4300),
    "long integers and escapes": joined(b"9" * 4300, b'["\\u0041",'),
    "one long integer": b"9" * MEGABYTE,
    "fractions": joined(b"2.2222222222222222e-308"),
    "one long fraction": b"1." + b"1" * MEGABYTE,
    "a long exponent": b"1e" + b"9" * MEGABYTE,
    "depth": b"[" * MEGABYTE,
    "depth of objects": b'{"a":' * (MEGABYTE // 5),
    "width at depth": b"[" * 900 + joined(b"1") + b"]" * 900,
    "blanks": b" " * MEGABYTE,
    "no text": b'"' + b"\xff" * MEGABYTE,
}


@pytest.mark.parametrize("name", JSON)
def test_a_body_of_json(name: str) -> None:
    assert_quick(lambda: parse_json(JSON[name]))


BASE64 = "Content-Transfer-Encoding: base64\r\n"
FORMS = {
    "parts without an end": "--x\r\n" * (MEGABYTE // 5),
    "headers without an end": "--x\r\n" + "a: b\r\n" * (MEGABYTE // 6),
    "dashes": part("-" * MEGABYTE),
    "line breaks": part("\r\n" * (MEGABYTE // 2)),
    "almost boundaries": part("\r\n--y" * (MEGABYTE // 5)),
    "blanks as base64": part(" " * MEGABYTE, BASE64),
    "a file of blanks as base64": part(" " * MEGABYTE, BASE64, '; filename="b"'),
    "a file of little base64": part("a " * (MEGABYTE // 2), BASE64, '; filename="b"'),
    "a long name": part("1", "", f'; filename="{"b/" * (MEGABYTE // 2)}"'),
    "entities in a name": part("1", "", f'; filename="{"&amp;" * (MEGABYTE // 5)}"'),
    "parameters": part("1", "", "; a=b" * (MEGABYTE // 5)),
    "files": part("1" * 9000, "", '; filename="b"').removesuffix("--x--\r\n") * 99,
}


@pytest.mark.parametrize("name", FORMS)
def test_a_form_in_parts(name: str) -> None:
    assert_quick(lambda: multipart(FORMS[name]))
