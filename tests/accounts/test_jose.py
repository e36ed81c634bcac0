import time
from collections.abc import Callable
from contextlib import suppress
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from accounts.jose import (
    MAX_TOKEN_LENGTH,
    Jws,
    MalformedToken,
    parse,
    read_object,
)
from tests.signing import compact

HEADER: dict[str, object] = {"alg": "ES256", "kid": "k", "typ": "JWT"}


def jws(**claims: object) -> Jws:
    return parse(compact(HEADER, claims, lambda _: b"signature"))


class TestParse:
    def test_returns_what_the_token_says(self) -> None:
        token = compact(HEADER, {"sub": "é", "n": [1, {"a": None}]}, lambda data: data[:3])
        parsed = parse(token)
        assert (parsed.alg, parsed.kid, parsed.typ) == ("ES256", "k", "JWT")
        assert parsed.claims == {"sub": "é", "n": [1, {"a": None}]}
        assert parsed.encoded == token
        assert parsed.signing_input.decode() == token.rpartition(".")[0]
        assert parsed.signature == parsed.signing_input[:3]

    def test_reads_a_header_with_the_algorithm_alone(self) -> None:
        parsed = parse(compact({"alg": "HS256"}, {}, lambda _: b""))
        assert (parsed.alg, parsed.kid, parsed.typ, parsed.claims) == ("HS256", None, None, {})

    def test_reads_a_token_of_the_greatest_length_and_none_longer(self) -> None:
        longest, longer = (
            compact({"alg": "ES256"}, {"padding": "x" * length}, lambda _: b"")
            for length in (6113, 6114)
        )
        assert (len(longest), len(longer)) == (MAX_TOKEN_LENGTH, MAX_TOKEN_LENGTH + 1)
        assert MAX_TOKEN_LENGTH == 8192
        assert parse(longest).alg == "ES256"
        with pytest.raises(MalformedToken):
            parse(longer)

    def test_shows_nothing_of_the_token_in_its_representation(self) -> None:
        assert "secret" not in repr(jws(email="secret", sub="secret"))

    @given(st.text() | st.text(st.sampled_from('eyJ.A-_=0{}" ')))
    @example("a.b.c")
    @example("\ud800.e30.e30")
    def test_refuses_any_text_without_another_exception(self, text: str) -> None:
        with pytest.raises(MalformedToken) as caught:
            parse(text)
        assert caught.value.args == ()
        assert caught.value.__context__ is None

    @given(st.binary(), st.binary())
    def test_refuses_any_bytes_in_the_place_of_json(self, header: bytes, claims: bytes) -> None:
        with pytest.raises(MalformedToken) as caught:
            parse(compact(header, claims, lambda _: b""))
        assert caught.value.__context__ is None

    @pytest.mark.parametrize(
        "make",
        [
            lambda: "." * MAX_TOKEN_LENGTH,
            lambda: "A" * MAX_TOKEN_LENGTH * 1000,
            lambda: compact(HEADER, b"[" * 6000, lambda _: b""),
            lambda: compact(HEADER, b'{"a":' * 1000, lambda _: b""),
            lambda: compact(HEADER, b'{"a":' + b"9" * 5000 + b"}", lambda _: b""),
            lambda: compact(b'{"alg":"' + b"\\u0041" * 900 + b'"}', b"{}", lambda _: b"!"),
        ],
    )
    def test_takes_no_longer_than_five_milliseconds(self, make: Callable[[], str]) -> None:
        token = make()
        start = time.thread_time()
        with suppress(MalformedToken):
            parse(token)
        assert time.thread_time() - start < 0.005


class TestClaims:
    def test_are_read_by_type(self) -> None:
        token = jws(text="a", number=1, fraction=1.5, id="2f1b3c4d-5e6f-4a7b-8c9d-0e1f2a3b4c5d")
        assert token.text("text") == "a"
        assert token.number("number") == 1
        assert token.number("fraction") == 1.5
        assert token.uuid("id") == UUID("2f1b3c4d-5e6f-4a7b-8c9d-0e1f2a3b4c5d")

    @pytest.mark.parametrize("value", [None, 1, True, ["a"], {"a": "b"}])
    def test_are_no_text_unless_they_are_strings(self, value: object) -> None:
        with pytest.raises(MalformedToken):
            jws(claim=value).text("claim")

    @pytest.mark.parametrize("value", [None, True, False, "1", [1], {"a": 1}])
    def test_are_no_numbers_unless_they_are_numbers(self, value: object) -> None:
        with pytest.raises(MalformedToken):
            jws(claim=value).number("claim")

    def test_are_not_there_when_they_are_missing(self) -> None:
        token = jws()
        for read in (token.text, token.number, token.uuid):
            with pytest.raises(MalformedToken):
                read("claim")

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "a",
            "00000000-0000-0000-0000-000000000000",
            "2F1B3C4D-5E6F-4A7B-8C9D-0E1F2A3B4C5D",
            "2f1b3c4d5e6f4a7b8c9d0e1f2a3b4c5d",
            "{2f1b3c4d-5e6f-4a7b-8c9d-0e1f2a3b4c5d}",
        ],
    )
    def test_are_no_uuid_in_another_spelling(self, text: str) -> None:
        with pytest.raises(MalformedToken) as caught:
            jws(claim=text).uuid("claim")
        assert caught.value.__context__ is None


class TestReadObject:
    def test_reads_members_of_every_type(self) -> None:
        text = b' {"a": [1, 2.5, true, null, {"b": "\\ud83d\\ude00"}]}\n'
        assert read_object(text) == {"a": [1, 2.5, True, None, {"b": "😀"}]}

    def test_reads_what_is_nested_to_the_limit_and_nothing_deeper(self) -> None:
        deepest, deeper = (b'{"a":' * depth + b"1" + b"}" * depth for depth in (1024, 1025))
        assert read_object(deepest)
        with pytest.raises(MalformedToken):
            read_object(deeper)

    @pytest.mark.parametrize(
        "text",
        [
            b"",
            b"[]",
            b"1",
            b'"a"',
            b"null",
            b'{"a":1,"a":1}',
            b'{"a":{"b":1,"\\u0062":2}}',
            b'{"a":NaN}',
            b'{"a":-Infinity}',
            b'{"a":1e999}',
            b'{"a":"\\ud800"}',
            b"\xef\xbb\xbf{}",
            "{}".encode("utf-16"),
            b'{"a":"\xff"}',
        ],
    )
    def test_refuses_everything_else(self, text: bytes) -> None:
        with pytest.raises(MalformedToken) as caught:
            read_object(text)
        assert caught.value.__context__ is None
