"""Rows as a CSV file (RFC 4180) that spreadsheets can open without being tricked."""

import csv
import io
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from django.db.models import QuerySet
from django.http import StreamingHttpResponse

CHUNK = 1000
FORMULA_STARTS = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
"""What makes a spreadsheet run a cell as a formula (OWASP, "CSV Injection")."""
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
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
