"""Rows as a CSV file (RFC 4180) that spreadsheets can open without being tricked."""

import csv
import io
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from django.db.models import QuerySet
from django.http import StreamingHttpResponse

CHUNK = 1000
FORMULA = frozenset("=+-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b")
"""What makes a spreadsheet run a cell as a formula, also in their wide and small forms
(https://owasp.org/www-community/attacks/CSV_Injection)."""
SEPARATORS = frozenset(",;|\t\r\n")
"""What may end a cell, depending on the country and on how the file is opened."""
QUOTES = frozenset("\"'")
BYTE_ORDER_MARK = "\ufeff"
"""Excel takes a file without one for the machine's old code page."""


def csv_response(
    queryset: QuerySet[Any], *, columns: Mapping[str, str], filename: str
) -> StreamingHttpResponse:
    """Stream the rows in order of their ids, a chunk in memory at a time.

    `columns` are the headings and the lookups that yield the values, such as `owner__email`.
    """
    return StreamingHttpResponse(
        _lines(queryset, columns),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{filename}"'},
    )


async def _lines(queryset: QuerySet[Any], columns: Mapping[str, str]) -> AsyncIterator[str]:
    yield BYTE_ORDER_MARK + _line(columns)
    rows = queryset.order_by("pk").values_list("pk", *columns.values())
    last = None
    while True:
        # By key instead of with a cursor, which a transaction pooler would lose in between.
        page = rows if last is None else rows.filter(pk__gt=last)
        chunk = [row async for row in page[:CHUNK]]
        if not chunk:
            return
        yield "".join(_line(row[1:]) for row in chunk)
        last = chunk[-1][0]


def _line(values: Iterable[Any]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(_cell(value) for value in values)
    return line.getvalue()


def _cell(value: Any) -> str:
    """Return the cell of a value: a text with a `'` before what might begin a formula.

    That is one of FORMULA with nothing but blanks and quotes between it and the beginning of the
    text, or a separator before it. Numbers and times are never formulas.
    """
    text = "" if value is None else str(value)
    if not isinstance(value, str) or FORMULA.isdisjoint(text):
        return text
    parts, begins = [], True
    for character in text:
        if begins and character in FORMULA:
            parts.append("'")
        parts.append(character)
        if character in SEPARATORS:
            begins = True
        elif character in FORMULA or not _is_skipped(character):
            begins = False
    return "".join(parts)


def _is_skipped(character: str) -> bool:
    """Whether a spreadsheet may drop it at the beginning of a cell."""
    return character in QUOTES or character.isspace() or not character.isprintable()
