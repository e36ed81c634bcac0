"""The `.env` file, beneath the variables of the process."""

import io
import re
from collections.abc import Mapping
from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured


def gather(process: Mapping[str, str], file: Path) -> Mapping[str, str]:
    """The variables of the process over those of `file`, which tests (ENVIRONMENT=test) ignore.

    Raises ImproperlyConfigured, with line numbers and no values, if `file` cannot be understood.
    """
    if process.get("ENVIRONMENT") == "test":
        return process
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except FileNotFoundError:
        return process
    except (OSError, UnicodeError):
        raise ImproperlyConfigured(f"{file} cannot be read as UTF-8 text.") from None
    wrong = [
        str(number)
        for number, line in enumerate(lines, start=1)
        if line and not re.match(r"#|(export )?\w+=", line, re.ASCII)
    ]
    if wrong:
        raise ImproperlyConfigured(f"{file}: not NAME=value in line {', '.join(wrong)}.")

    class Source(environ.Env):  # type: ignore[misc] # it has no types
        ENVIRON = dict(process)

    Source.read_env(io.StringIO("\n".join(lines)))
    return Source.ENVIRON
