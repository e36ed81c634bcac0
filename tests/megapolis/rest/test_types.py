import unicodedata
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from megapolis.rest import BIGINT_MAX, Id, Text, clean_text, types
from megapolis.rest.types import MARKS

identifier = TypeAdapter[int](Id)
text = TypeAdapter[str](Annotated[str, Text(max_length=3)])


class TestCleanText:
    @pytest.mark.parametrize("code", [*range(0x20), *range(0x7F, 0xA0), 0xD800, 0xDBFF, 0xDFFF])
    def test_refuses_a_control_character_wherever_it_is(self, code: int) -> None:
        for written in (chr(code), f"{chr(code)}a", f"a{chr(code)}b", f"a{chr(code)}"):
            with pytest.raises(ValueError, match="control characters"):
                clean_text(written)

    @pytest.mark.parametrize("mark", ["\u0300", "\u0300\u0316", "\u05b0", "\u0f71", "\U0001d165"])
    def test_takes_as_many_marks_in_a_row_as_a_language_needs(self, mark: str) -> None:
        marks = (mark * MARKS)[:MARKS]
        clean_text(f"a{marks}b{marks}")
        with pytest.raises(ValueError, match="combining marks"):
            clean_text(f"a{marks}{mark[0]}")

    @given(st.text(st.characters(exclude_categories=["Cc", "Cs"])))
    def test_gives_what_it_keeps(self, written: str) -> None:
        cleaned = clean_text(written)

        assert clean_text(cleaned) == cleaned == cleaned.strip()
        assert unicodedata.is_normalized("NFC", cleaned)


class TestText:
    @pytest.mark.parametrize(
        ("written", "read"), [("a", "a"), (" abc ", "abc"), ("e\u0301" * 3, "\u00e9" * 3)]
    )
    def test_is_measured_as_it_is_stored(self, written: str, read: str) -> None:
        assert text.validate_python(written) == read

    @pytest.mark.parametrize(
        "written",
        ["\u1f82" * 3, "\u03b1\u0313\u0300\u0345" * 3, " " * 20 + "\u1f82" * 3 + " " * 20],
    )
    def test_may_be_four_times_as_long_before_it_is_composed(self, written: str) -> None:
        assert text.validate_python(written) == "\u1f82" * 3

    @pytest.mark.parametrize(
        "written",
        ["a" * 13, "\u0300\u0316" * 500_000, "a" + "\u0301" * 99, "\u03b1\u0313\u0300" * 5],
    )
    def test_is_measured_before_anything_else_looks_at_it(
        self, written: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(types, "clean_text", None)
        with pytest.raises(ValidationError, match="at most 3 characters"):
            text.validate_python(written)

    def test_cannot_be_declared_without_a_maximum(self) -> None:
        with pytest.raises(TypeError, match="max_length"):
            Text()  # type: ignore[call-arg] # that is what is tested

    @pytest.mark.parametrize(
        "written", ["", " ", "\u3000", "abcd", "a\u0958b", "\tab", "ab\n", "\ud800", 1, None]
    )
    def test_refuses_the_rest(self, written: Any) -> None:
        with pytest.raises(ValidationError):
            text.validate_python(written)

    def test_says_so_in_its_schema(self) -> None:
        schema = text.json_schema()

        assert (schema["type"], schema["minLength"], schema["maxLength"]) == ("string", 1, 3)
        assert schema["pattern"]


class TestId:
    @pytest.mark.parametrize(
        ("written", "read"), [("1", 1), ("007", 7), (str(BIGINT_MAX), BIGINT_MAX), (5, 5)]
    )
    def test_is_a_bigint_in_digits(self, written: Any, read: int) -> None:
        assert identifier.validate_python(written) == read

    @pytest.mark.parametrize(
        "written",
        [
            *["", "0", "-1", "+1", " 1", "1 ", "1\n", "1_0", "1.0", "1e3", "1\x00", "9" * 5_000],
            *["\u0661", "\uff11", "\u00b9", str(BIGINT_MAX + 1)],
            *[0, -1, BIGINT_MAX + 1, 1.5, None, []],
        ],
    )
    def test_refuses_the_rest(self, written: Any) -> None:
        with pytest.raises(ValidationError):
            identifier.validate_python(written)

    def test_says_so_in_its_schema(self) -> None:
        schema = identifier.json_schema()

        assert schema == {"type": "integer", "minimum": 1, "maximum": BIGINT_MAX}
