"""The limits fit together, and the documentation has them all."""

import re

from megapolis import limits
from megapolis.environment import BASE_DIR

SOURCE = (BASE_DIR / "megapolis" / "limits.py").read_text()
LIMITS = re.findall(r'^(\w+): Final = .+\n"""(.+)"""$', SOURCE, re.MULTILINE)


def test_each_has_a_reason_that_is_in_the_documentation() -> None:
    documented = re.findall(
        r"^\| `([A-Z_]+)` \| (\S+) \| (.+) \|$",
        (BASE_DIR / "docs" / "limits.md").read_text(),
        re.MULTILINE,
    )
    assert documented == [(name, f"{getattr(limits, name):.0f}", reason) for name, reason in LIMITS]
    assert len(LIMITS) == SOURCE.count(": Final =")


def test_a_request_is_answered_before_it_is_given_up() -> None:
    assert limits.DATABASE_WAIT + limits.STATEMENT_TIMEOUT < limits.ANSWER_TIMEOUT
    assert limits.ANSWER_TIMEOUT < limits.SHUTDOWN_TIMEOUT


def test_some_requests_need_no_database() -> None:
    assert limits.DATABASE_QUEUE < limits.IN_FLIGHT
