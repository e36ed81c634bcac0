"""The `.env` file of the checkout, which django-environ reads."""

import io
import re
from collections.abc import Mapping
from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured


def gather(process: Mapping[str, str], file: Path) -> Mapping[str, str]:
    """Return the variables of the process, and those of the file that the process does not set.

    Tests (ENVIRONMENT=test) ignore the file. An error names the lines and shows no values:
    django-environ would log the text of a line that it cannot read.
    """
    if process.get("ENVIRONMENT") == "test" or not file.exists():
        return process
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeError):
        raise ImproperlyConfigured(f"{file} cannot be read as UTF-8 text.") from None
    pattern = re.compile(r"(#|(export )?\w+=|$)", re.ASCII)
    wrong = [str(number) for number, line in enumerate(lines, 1) if not pattern.match(line)]
    if wrong:
        raise ImproperlyConfigured(f"{file}: not NAME=value in line {', '.join(wrong)}.")

    class Variables(environ.Env):  # type: ignore[misc] # it has no types
        ENVIRON = dict(process)

    Variables.read_env(io.StringIO("\n".join(lines)))
    return Variables.ENVIRON
