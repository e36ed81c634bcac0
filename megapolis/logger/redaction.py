"""Text as it may be logged: short, in one line, and without secrets.

Whatever the text, this takes time in proportion to its length, and `clean` no more than for the
first few thousand characters.
"""

import re
from typing import Final
from urllib.parse import unquote, urlsplit

from megapolis import environment

SHOWN: Final = 2048
"""Code points of a text that are logged."""
LOOK_AHEAD: Final = 8 * 1024
"""Code points beyond those that are looked at, to find the end of a secret that begins before. The
longest token that is accepted has as many."""
CUT: Final = "…"
SECRET_LENGTH: Final = 12


def configured_secrets() -> list[str]:
    """Short ones are left out: they would blot out ordinary words."""
    values = (
        environment.SECRET_KEY,
        environment.JWT_SECRET_KEY,
        *environment.JWT_SECRET_KEY_FALLBACKS,
        environment.SUPABASE_SERVICE_ROLE_KEY,
        environment.SUPABASE_JWT_SECRET,
        unquote(urlsplit(environment.DATABASE_URL).password or ""),
    )
    return [value for value in values if len(value) >= SECRET_LENGTH]


HIDING: Final = [
    ("eyj", re.compile(r"()eyJ(?:[\w-]{16,}+|[\w-]*+\.)[\w.-]*+")),
    ("sb_", re.compile(r"()sb_(?:secret|publishable)_[\w-]++")),
    ("bearer", re.compile(r"(bearer[\s:]++)[\w.~+/=-]++", re.IGNORECASE)),
    ("://", re.compile(r"(://)[^\s/:@]*+:(?:[^\s/]+(?=@)|[^\s/]{4096,}+)")),
    (
        "password",
        re.compile(
            r"""(password["']?\s*+[=:]\s*+)"""
            r"""(?:'(?:[^'\\]|\\.)*+'?|"(?:[^"\\]|\\.)*+"?|[^\s"'&,;}]++)""",
            re.IGNORECASE | re.DOTALL,
        ),
    ),
    *((value.lower(), re.compile(f"(){re.escape(value)}")) for value in configured_secrets()),
]
"""A mark in lower case, cheap to look for, and the pattern that is tried where it occurs. What
follows its group is hidden. A secret whose end is not seen is hidden as far as it goes.

No pattern reads a part of the text twice: a match consumes it, and what fails does so at the next
place where another match could begin."""


def redact(text: str) -> str:
    """Return the text with each token, key, password and configured secret replaced by ***."""
    return _hide(text, end=len(text))


def clean(text: str, *, shown: int = SHOWN) -> str:
    """Return the beginning of the text in one line and without secrets, not even parts of them."""
    hidden = _hide(text[: shown + LOOK_AHEAD], end=shown)
    line = hidden if hidden.isprintable() else "".join(map(_visible, hidden))
    return line if len(text) <= shown >= len(line) else f"{line[: shown - 1]}{CUT}"


def _hide(text: str, *, end: int) -> str:
    """Return what is before `end`, with the secrets hidden that begin there.

    Each pattern sees the whole text, so that what one of them hides takes nothing from the others.
    """
    lower = text.lower()
    secrets = sorted(
        (found.end(1), found.end())
        for mark, pattern in HIDING
        if mark in lower
        for found in pattern.finditer(text)
    )
    parts, at = [], 0
    for start, stop in secrets:
        if start >= end:
            break
        if start >= at:
            parts += [text[at:start], "***"]
        at = max(at, stop)
    return "".join([*parts, text[at:end]])


def _visible(character: str) -> str:
    return character if character.isprintable() else ascii(character)[1:-1]
