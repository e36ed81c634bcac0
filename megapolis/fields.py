"""Types of values that come in, for the schemas of every feature."""

import re
import unicodedata
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

BIGINT_MAX = 2**63 - 1
PRINTABLE_PATTERN = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
"""What `clean_text` accepts, for OpenAPI: no control character, and not only white space."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_DIGITS = re.compile(r"[0-9]{1,19}")


def clean_text(text: str) -> str:
    """Return the text in Unicode's composed form (NFC), trimmed.

    `ValueError` for control characters and lone surrogates, wherever they stand.
    """
    if _CONTROL.search(text):
        raise ValueError("must not contain control characters")
    return unicodedata.normalize("NFC", text).strip()


def _digits(value: Any) -> Any:
    """Refuse the spellings of a number that Python reads and others do not: " 1", "1_0", "+1"."""
    if isinstance(value, str) and not _DIGITS.fullmatch(value):
        raise ValueError("must be a whole number, written in digits")
    return value


def _has_text(text: str) -> str:
    if not text:
        raise ValueError("must not be empty")
    return text


Digits = BeforeValidator(_digits)
"""A whole number in a path or a query is written in ASCII digits. Stands behind the bounds."""

Id = Annotated[int, Field(ge=1, le=BIGINT_MAX), Digits]
"""The id of a row, a bigint."""

Text = Annotated[
    str,
    AfterValidator(clean_text),
    AfterValidator(_has_text),
    Field(json_schema_extra={"minLength": 1, "pattern": PRINTABLE_PATTERN}),
]
"""A line of text with something in it. Add a `Field(max_length=…)` of its own after it."""
