"""Types of values that come in, for the schemas of every feature."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Final

from annotated_types import GroupedMetadata
from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticKnownError

BIGINT_MAX = 2**63 - 1
PRINTABLE_PATTERN = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
"""What `clean_text` accepts, for OpenAPI: no control character, and not only white space."""

COMPOSED_FROM: Final = 4
"""A character is composed (NFC) from at most four others."""
MARKS: Final = 30
"""Combining marks in a row, as in Unicode's Stream-Safe Text Format (UAX #15, section 13). No
language needs more, and the time to sort a run of them grows with the square of its length."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_LONG_RUN = re.compile(rb"(?<![^\0])[^\0]{%d}" % (MARKS + 1))
"""In the combining classes of the characters of a text, which are 0 for all but marks."""
_DIGITS = re.compile(r"[0-9]{1,19}")


def clean_text(text: str) -> str:
    """Return the text in Unicode's composed form (NFC), trimmed.

    Raises ValueError for control characters and lone surrogates, wherever they stand, and for more
    than MARKS combining marks in a row. Takes time in proportion to the length.
    """
    if _CONTROL.search(text):
        raise ValueError("must not contain control characters")
    text = text.strip()
    if not text.isascii() and _LONG_RUN.search(bytes(map(unicodedata.combining, text))):
        raise ValueError(f"must not have more than {MARKS} combining marks in a row")
    return unicodedata.normalize("NFC", text)


def _digits(value: Any) -> Any:
    """Reject spellings of a number that only Python accepts: " 1", "1_0", "+1"."""
    if isinstance(value, str) and not _DIGITS.fullmatch(value):
        raise ValueError("must be a whole number, written in digits")
    return value


Digits = BeforeValidator(_digits)
"""A whole number in a path or a query is written in ASCII digits. Stands behind the bounds."""

Id = Annotated[int, Field(ge=1, le=BIGINT_MAX), Digits]
"""The id of a row, a bigint."""


@dataclass(frozen=True)
class Text(GroupedMetadata):
    """A line of text with something in it: `Annotated[str, Text(max_length=255)]`.

    `max_length` counts the code points of the text as it is stored. What is too long in any form is
    rejected before anything else looks at it.
    """

    max_length: int

    def __iter__(self) -> Iterator[object]:
        yield AfterValidator(self._cleaned)
        yield Field(
            max_length=self.max_length,
            json_schema_extra={"minLength": 1, "pattern": PRINTABLE_PATTERN},
        )

    def _cleaned(self, text: str) -> str:
        if len(text) > self.max_length and len(text.strip()) > self.max_length * COMPOSED_FROM:
            raise PydanticKnownError("string_too_long", {"max_length": self.max_length})
        cleaned = clean_text(text)
        if not cleaned:
            raise ValueError("must not be empty")
        return cleaned
