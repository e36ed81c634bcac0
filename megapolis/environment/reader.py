"""Reads variables by type, and collects all that is wrong with them until `raise_problems()`."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured, ValidationError

from megapolis.environment import dotenv
from megapolis.environment.checks import Check

BASE_DIR = Path(__file__).resolve().parents[2]
BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


class Reader:
    """One method per type. Each notes a wrong value and returns the default. Empty means unset."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self.variables = variables
        self.names: list[str] = []
        self.problems: list[str] = []

    def text(
        self, name: str, *, default: str = "", required: bool = False, check: Check | None = None
    ) -> str:
        value = self._value(name)
        if not value and required:
            self.problem(name, "is missing")
        return value if value and self._passes(name, value, check) else default

    def words(
        self,
        name: str,
        *,
        default: tuple[str, ...] = (),
        required: bool = False,
        check: Check | None = None,
    ) -> tuple[str, ...]:
        """Read a list, separated by commas. Each of its words must pass the check."""
        words = tuple(word.strip() for word in self._value(name).split(",") if word.strip())
        if not words and required:
            self.problem(name, "is missing")
        is_valid = all(self._passes(name, word, check) for word in words)
        return words if words and is_valid else default

    def number(self, name: str, *, default: int, least: int, most: int) -> int:
        value = self._value(name)
        if re.fullmatch("[0-9]{1,12}", value) and least <= int(value) <= most:
            return int(value)
        if value:
            self.problem(name, f"must be a whole number from {least} to {most}")
        return default

    def switch(self, name: str, *, default: bool) -> bool:
        value = self._value(name).lower()
        if value and value not in BOOLEANS:
            self.problem(name, "must be true, 1, false or 0")
        return BOOLEANS.get(value, default)

    def choice(self, name: str, *choices: str, default: str) -> str:
        """Read one of these words. Words in capitals may be given in small letters."""
        value = self._value(name)
        for choice in choices:
            if choice in {value, value.upper()}:
                return choice
        if value:
            self.problem(name, f"must be one of {', '.join(choices)}")
        return default

    def problem(self, name: str, what: str) -> None:
        line = f"  {name} {what}"
        if line not in self.problems:  # Django imports settings that failed a second time
            self.problems.append(line)

    def raise_problems(self) -> None:
        if self.problems:
            heading = "These variables are wrong (`make .env` writes secrets for development):"
            raise ImproperlyConfigured("\n".join([heading, *self.problems]))

    def _value(self, name: str) -> str:
        self.names.append(name)
        value = self.variables.get(name, "").strip(" ")
        if value.isprintable():
            return value
        self.problem(name, "contains characters that cannot be printed")
        return ""

    def _passes(self, name: str, value: str, check: Check | None) -> bool:
        try:
            if check:
                check(value)
        except ValidationError as error:
            self.problem(name, str(error.message))
            return False
        return True


read = Reader(dotenv.gather(os.environ, BASE_DIR / ".env"))
