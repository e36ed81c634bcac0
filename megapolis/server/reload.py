"""Serving while the code changes: `manage.py run --reload`."""

from collections.abc import Iterator
from pathlib import Path

from uvicorn.supervisors.statreload import StatReload

from megapolis.environment import BASE_DIR


class Reload(StatReload):
    """Watches the apps of this repository, and one that is added meanwhile, too.

    What uvicorn watches by itself is fixed when it starts, or has the virtual environment in it.
    """

    def iter_py_files(self) -> Iterator[Path]:
        """Yield the files whose change restarts the service."""
        for app in BASE_DIR.glob("*/apps.py"):
            yield from app.parent.rglob("*.py")
