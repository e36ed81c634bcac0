"""Limits can be set within the documented bounds, and must fit together."""

import re
from typing import Any

import pytest

from megapolis.environment import BASE_DIR, limits

DEVELOPMENT = {
    "ENVIRONMENT": "development",
    "SECRET_KEY": "sessions",
    "JWT_SECRET_KEY": "tokens",
}
LARGEST = {
    "BODY_MAX_BYTES": "104857600",
    "BODIES_MAX_BYTES": "10737418240",
    "PAGE_SIZE_MAX": "1000",
    "ANSWER_TIMEOUT": "599",
    "SHUTDOWN_TIMEOUT": "600",
}
"""Values that leave room for every other limit."""
SMALLEST = {
    "TOKEN_BODY_MAX_BYTES": "1024",
    "PAGE_SIZE": "1",
    "STATEMENT_TIMEOUT": "1",
    "MAX_WAIT": "1",
    "ANSWER_TIMEOUT": "3",
}
MUTUALLY_BOUND = {"ANSWER_TIMEOUT", "SHUTDOWN_TIMEOUT", "STATEMENT_TIMEOUT"}
"""Limits that cannot have the least or the largest documented value, because others are smaller."""


def documented() -> dict[str, tuple[str, str, str]]:
    """Return the least, the largest and the default value of each number, as the pages say."""
    pages = [(BASE_DIR / "docs" / page).read_text() for page in ("limits.md", "operations.md")]
    rows = re.findall(
        r"^\| `([A-Z_]+)` \| .*\((\d+) to (\d+), default (\d+)\)", "".join(pages), re.MULTILINE
    )
    return {name: (least, most, default) for name, least, most, default in rows}


def test_the_page_lists_every_limit_with_its_bounds() -> None:
    page = (BASE_DIR / "docs" / "limits.md").read_text()
    listed = re.findall(r"^\| `([A-Z_]+)` \|", page, re.MULTILINE)
    assert tuple(listed) == limits.VARIABLES
    assert set(listed) <= set(documented())


@pytest.mark.parametrize("name", documented())
def test_the_documented_default_and_bounds_hold(load: Any, problems: Any, name: str) -> None:
    least, most, default = documented()[name]
    assert getattr(load(DEVELOPMENT), name) == int(default)
    for wrong in (int(least) - 1, int(most) + 1, "x", "1.5", "1_0", "١٢"):
        expected = f"{name} must be a whole number from {least} to {most}"
        assert problems(DEVELOPMENT, **{name: str(wrong)}) == [expected]


@pytest.mark.parametrize("name", sorted(set(documented()) - MUTUALLY_BOUND))
def test_the_least_and_the_largest_documented_value_are_accepted(load: Any, name: str) -> None:
    least, most, _ = documented()[name]
    assert getattr(load(DEVELOPMENT, **SMALLEST | {name: least}), name) == int(least)
    assert getattr(load(DEVELOPMENT, **LARGEST | {name: most}), name) == int(most)


@pytest.mark.parametrize(
    ("fitting", "too_much", "problem"),
    [
        (
            {"BODY_MAX_BYTES": "16384"},
            {"BODY_MAX_BYTES": "16383"},
            "TOKEN_BODY_MAX_BYTES must be at most BODY_MAX_BYTES",
        ),
        (
            {"BODIES_MAX_BYTES": "1048576"},
            {"BODIES_MAX_BYTES": "1048576", "BODY_MAX_BYTES": "1048577"},
            "BODIES_MAX_BYTES must be at least BODY_MAX_BYTES",
        ),
        (
            {"PAGE_SIZE_MAX": "50"},
            {"PAGE_SIZE_MAX": "49"},
            "PAGE_SIZE must be at most PAGE_SIZE_MAX",
        ),
        (
            {"STATEMENT_TIMEOUT": "8"},
            {"STATEMENT_TIMEOUT": "9"},
            "ANSWER_TIMEOUT must be more than MAX_WAIT and STATEMENT_TIMEOUT together",
        ),
        (
            {"ANSWER_TIMEOUT": "11"},
            {"ANSWER_TIMEOUT": "12"},
            "SHUTDOWN_TIMEOUT must be more than ANSWER_TIMEOUT",
        ),
    ],
)
def test_limits_that_do_not_fit_together_are_rejected(
    load: Any, problems: Any, fitting: dict[str, str], too_much: dict[str, str], problem: str
) -> None:
    load(DEVELOPMENT, **fitting)
    assert problems(DEVELOPMENT, **too_much) == [problem]


def test_wrong_limits_and_wrong_variables_are_named_in_one_error(problems: Any) -> None:
    found = problems(DEVELOPMENT, HEAD_MAX_FIELDS="many", KEEP_ALIVE="-1", LOG_LEVEL="loud")
    assert [line.split()[0] for line in found] == ["HEAD_MAX_FIELDS", "KEEP_ALIVE", "LOG_LEVEL"]
