"""Reads variables by type, and remembers all that is wrong with them until `finish()`."""

import ipaddress
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from django.core.exceptions import ImproperlyConfigured

from megapolis.environment_checks import (
    SECRET_BYTES,
    accepts,
    hold_much_of_the_internet,
    is_database_url,
    is_printable,
    is_weak,
)

EnvironmentName = Literal["development", "test", "production"]
LogLevel = Literal["TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]

ENVIRONMENTS: tuple[EnvironmentName, ...] = ("development", "test", "production")
LOG_LEVELS: tuple[LogLevel, ...] = ("TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
HOST = r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*|\[[0-9A-Fa-f:.]+\]"


class Reader:
    """One method per type of variable. Each takes the variable's name and its description.

    A method that finds something wrong notes it and returns a harmless value of the right type,
    so that reading goes on and `finish()` can name every problem at once.
    """

    def __init__(self, source: Mapping[str, str]) -> None:
        self.source = source
        self.problems: list[str] = []
        self.descriptions: dict[str, str] = {}
        self.secret_holders: dict[str, list[str]] = {}
        name = source.get("ENVIRONMENT", "").strip()
        self.production = name not in {"development", "test"}
        self.test = name == "test"

    def finish(self) -> Mapping[str, str]:
        """Name and description of all that was read.

        Raises ImproperlyConfigured with a line for each variable that is missing or wrong.
        """
        if self.problems:
            raise ImproperlyConfigured(
                "\n".join(["The environment is not usable:", *self.problems])
            )
        return self.descriptions

    def environment(self, name: str, description: str) -> EnvironmentName:
        value = self._text(name, description)
        for known in ENVIRONMENTS:
            if value == known:
                return known
        if value:
            self._problem(name, "must be development, test or production")
        return "production"

    def boolean(self, name: str, description: str, *, default: bool) -> bool:
        value = self._text(name, description)
        if not value:
            return default
        if value.lower() not in BOOLEANS:
            self._problem(name, "must be true, 1, false or 0")
        return BOOLEANS.get(value.lower(), default)

    def development_switch(self, name: str, description: str) -> bool:
        """A boolean that may be true only in development."""
        value = self.boolean(name, description, default=False)
        if value and (self.production or self.test):
            self._problem(name, "may be true only with ENVIRONMENT=development")
        return value

    def choice[Choice: str](
        self, name: str, description: str, *, choices: tuple[Choice, ...]
    ) -> Choice:
        """One of several words; the first is the default."""
        value = self._text(name, description)
        for known in choices:
            if value == known:
                return known
        if value:
            self._problem(name, f"must be one of {', '.join(choices)}")
        return choices[0]

    def integer(
        self, name: str, description: str, *, default: int, minimum: int, maximum: int
    ) -> int:
        value = self._text(name, description)
        if not value:
            return default
        if re.fullmatch(r"[0-9]{1,9}", value) and minimum <= int(value) <= maximum:
            return int(value)
        self._problem(name, f"must be a whole number from {minimum} to {maximum}")
        return default

    def require(self, name: str, holds: bool, what: str) -> None:  # noqa: FBT001 - it is the point
        """Note a problem with a variable that does not fit another: `what` it must be."""
        if not holds:
            self._problem(name, what)

    def secret(self, name: str, description: str) -> str:
        """A secret that must be given; tests get a random one."""
        value = self.optional_secret(name, description)
        if value or self.test:
            return value or secrets.token_urlsafe(48)
        self._problem(name, "is missing (`make .env` writes one for development)")
        return ""

    def optional_secret(self, name: str, description: str) -> str:
        value = self._text(name, description)
        if value:
            self._check_secret(name, value)
        return value

    def secrets(self, name: str, description: str) -> tuple[str, ...]:
        values = self._list(name, description)
        for value in values:
            self._check_secret(name, value)
        return values

    def hosts(self, name: str, description: str) -> tuple[str, ...]:
        values = self._list(name, description)
        if not values and self.production:
            self._problem(name, "is missing")
        if not values:
            return ("localhost", "127.0.0.1", "[::1]")
        if self.production and "*" in values:
            self._problem(name, "must not be *")
        if self.production and any(re.fullmatch(r"\.[^.]+", value) for value in values):
            self._problem(name, "must not be a whole top-level domain: write .example.com")
        if not all(value == "*" or re.fullmatch(rf"\.?({HOST})", value) for value in values):
            self._problem(name, "must be host names without scheme, port or path")
        return values

    def origins(self, name: str, description: str) -> tuple[str, ...]:
        values = self._list(name, description)
        if not all(self._is_origin(value) for value in values):
            self._problem(name, "must be https origins without path, such as https://example.com")
        return values

    def supabase_url(self, name: str, description: str) -> str:
        value = self._text(name, description).rstrip("/")
        if not value and self.production:
            self._problem(name, "is missing")
        if value and not self._is_origin(value):
            self._problem(name, "must be an https URL without path")
        return value

    def database_url(self, name: str, description: str) -> str:
        value = self._text(name, description)
        if not value and self.production:
            self._problem(name, "is missing")
        if value and not is_database_url(value):
            self._problem(name, "must be postgresql://user:password@host:port/name")
        return value

    def networks(self, name: str, description: str) -> tuple[str, ...]:
        values = self._list(name, description)
        if not all(accepts(ipaddress.ip_network, value) for value in values):
            self._problem(name, "must be IP addresses or networks such as 10.0.0.0/8")
        elif self.production and hold_much_of_the_internet(values):
            what = "must not hold much of the internet: anybody could name a client's address. "
            self._problem(name, f"{what}Name your proxies, such as 10.0.0.5 or 10.0.0.0/8")
        return values

    def log_level(self, name: str, description: str) -> LogLevel:
        value = self._text(name, description).upper()
        for known in LOG_LEVELS:
            if value == known:
                return known
        if value:
            self._problem(name, f"must be one of {', '.join(LOG_LEVELS)}")
        return "INFO"

    def folder(
        self, name: str, description: str, *, default: Path | None, base: Path
    ) -> Path | None:
        """A folder; a relative one is taken from `base`."""
        value = self._text(name, description)
        return base / Path(value).expanduser() if value else default

    def _text(self, name: str, description: str) -> str:
        self.descriptions[name] = description
        value = self.source.get(name, "").strip(" ")
        if not is_printable(value):
            self._problem(name, "contains control characters")
            return ""
        return value

    def _list(self, name: str, description: str) -> tuple[str, ...]:
        parts = self._text(name, description).split(",")
        return tuple(part.strip() for part in parts if part.strip())

    def _is_origin(self, value: str) -> bool:
        """Scheme, host and perhaps port; production takes https only."""
        scheme = "https" if self.production else "https?"
        return bool(re.fullmatch(rf"{scheme}://({HOST})(:[0-9]{{1,5}})?", value))

    def _check_secret(self, name: str, value: str) -> None:
        holders = self.secret_holders.setdefault(value, [])
        for holder in holders:
            signs_for_both = name.startswith("JWT_") and holder.startswith("SUPABASE_")
            if self.production or signs_for_both:
                self._problem(name, f"must differ from {holder}")
        holders.append(name)
        if self.production and is_weak(value):
            self._problem(name, f"is too weak: use at least {SECRET_BYTES} random bytes")

    def _problem(self, name: str, what: str) -> None:
        self.problems.append(f"  {name} {what}")
