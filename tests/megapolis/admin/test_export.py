"""Cells that no spreadsheet takes for a formula, however it splits the file."""

import csv
import io
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from megapolis.admin.export import _line
from tests.worst_cases import MEGABYTE, assert_quick

STARTS = tuple("=+-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b")
HOSTILE = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\uff1d1+1",
    "\ufe661+1",
    "x;=cmd|'/c calc'!A0;y",
    "x;;;=1",
    "x; =1+1",
    'x;"=1+1"',
    "x;'=1+1",
    'x;""=1+1',
    "a\t=1+1",
    "a\t\t=1+1",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "a\r\n=1+1",
    "a|=1+1",
    "a,=1+1",
    'a",=1+1',
    'a",""=1+1,"',
    'a";=1+1;"',
    '"=1+1"',
    '"";=1+1',
    "' =1+1",
    " =1+1",
    "\u00a0=1+1",
    "\u3000\uff1d1+1",
    "\u200b=1+1",
    "\ufeff=1+1",
    "x;\u00a0@SUM(A1)",
    "x;\ufeff-1",
    "==1;=2;=3",
]
HARMLESS = [
    *("", "a", "a=b", "a-b", "ada@example.com", "1 + 1", "a; b", "a, b-c", "C++", "x;y=z", "~-1"),
    *("\u2014 dash", "it's - so", "a\tb", 'say "=1"', "Grüße; 東京"),
]


def cells(line: str) -> list[str]:
    """Return every cell that there may be, whatever separates and quotes them."""
    found = []
    for delimiter in ",;|\t":
        for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE):
            text = io.StringIO(line, newline="")
            for row in csv.reader(text, delimiter=delimiter, quoting=quoting):
                found += row
            found += [cell for row in line.splitlines() for cell in row.split(delimiter)]
    return found


def is_formula(cell: str) -> bool:
    """Whether it is one for a spreadsheet that drops blanks, quotes and the invisible before it."""
    while cell and (cell[0].isspace() or cell[0] == '"' or not cell[0].isprintable()):
        cell = cell[1:]
    return cell.startswith(STARTS)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize(
    "row", [["{}"], ["1", "{}"], ["1", "{}", "ada@example.com"], ["a;b", "{}"]]
)
def test_no_cell_is_a_formula(text: str, row: list[str]) -> None:
    line = _line([text if value == "{}" else value for value in row])
    assert not [cell for cell in cells(line) if is_formula(cell)]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_is_lost(text: str) -> None:
    (cell,), *_ = csv.reader(io.StringIO(_line([text]), newline=""))
    assert cell.replace("'", "") == text.replace("'", "")


@pytest.mark.parametrize("text", HARMLESS)
def test_an_ordinary_text_stays_as_it_is(text: str) -> None:
    assert next(csv.reader([_line([text, "end"])])) == [text, "end"]


@pytest.mark.parametrize(
    "value", [-1, -1.5, Decimal(-2), datetime(2026, 1, 1, tzinfo=UTC), None, True]
)
def test_numbers_and_times_stay_as_they_are(value: Any) -> None:
    assert next(csv.reader([_line([value, "end"])])) == ["" if value is None else str(value), "end"]


@pytest.mark.parametrize("part", ["=", "\t", ";=", '"', " ", "\t=", "'"])
def test_a_long_text_takes_time_in_proportion(part: str) -> None:
    assert_quick(lambda: _line([part * (MEGABYTE // 16 // len(part)) + "="]))
