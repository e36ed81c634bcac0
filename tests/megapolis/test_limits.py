"""Every limit can be set, has its bounds, and fits the others; the documentation has them all."""

import re
import runpy
from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from megapolis import environment, limits

type Load = Callable[..., dict[str, Any]]

BOUNDS = r"\((\d+) to (\d+), default (\d+)\)"
UNRELATED = [
    name
    for name in limits.VARIABLES
    if name.endswith(("KEEP_ALIVE", "SEND_TIMEOUT", "RECEIVE_TIMEOUT", "CONNECT_TIMEOUT", "NOTICE"))
    or name.startswith(("HEAD", "STAFF"))
]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    """`load(PAGE_SIZE="7")` runs the module with these variables and no others."""

    def run(**variables: str) -> dict[str, Any]:
        monkeypatch.setattr(environment.read, "source", variables)
        return runpy.run_path(str(limits.__file__))

    return run


def test_are_all_in_the_documentation_with_their_reasons() -> None:
    page = (environment.BASE_DIR / "docs" / "limits.md").read_text()
    documented = dict(re.findall(r"^\| `([A-Z_]+)` \| (.+) \|$", page, re.MULTILINE))
    assert documented == limits.VARIABLES


@pytest.mark.parametrize("name", limits.VARIABLES)
def test_are_what_the_description_says_unless_set(load: Load, name: str) -> None:
    [(least, most, default)] = re.findall(BOUNDS, limits.VARIABLES[name])
    assert load()[name] == int(default)
    for wrong in (int(least) - 1, int(most) + 1, "x", "1.5"):
        with pytest.raises(ImproperlyConfigured, match=f"  {name} must be a whole number from"):
            load(**{name: str(wrong)})


@pytest.mark.parametrize("name", UNRELATED)
def test_are_as_set_from_the_least_to_the_most(load: Load, name: str) -> None:
    [(least, most, _)] = re.findall(BOUNDS, limits.VARIABLES[name])
    for value in (least, most):
        assert load(**{name: value})[name] == int(value)


@pytest.mark.parametrize(
    ("name", "too_much", "most"),
    [
        ("TOKEN_BODY_MAX_BYTES", {"BODY_MAX_BYTES": "16383"}, {"BODY_MAX_BYTES": "16384"}),
        ("PAGE_SIZE", {"PAGE_SIZE_MAX": "49"}, {"PAGE_SIZE_MAX": "50"}),
        ("ANSWER_TIMEOUT", {"STATEMENT_TIMEOUT": "9"}, {"STATEMENT_TIMEOUT": "8"}),
        ("SHUTDOWN_TIMEOUT", {"ANSWER_TIMEOUT": "12"}, {"ANSWER_TIMEOUT": "11"}),
    ],
)
def test_fit_together(
    load: Load, name: str, too_much: dict[str, str], most: dict[str, str]
) -> None:
    load(**most)
    with pytest.raises(ImproperlyConfigured, match=f"  {name} must be (at most|less|more)"):
        load(**too_much)


def test_are_all_named_at_once(load: Load) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"(?s)HEAD_MAX_FIELDS .*\n  KEEP_ALIVE "):
        load(HEAD_MAX_FIELDS="many", KEEP_ALIVE="-1")
