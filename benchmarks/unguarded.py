"""The service without one of its guards: `python -m benchmarks.unguarded GUARD run --port 8000`.

For measuring what the guard costs, and for nothing else. It runs in the service's own environment.
"""

import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "megapolis.settings")

import django

django.setup()

from django.conf import settings
from django.core.management import execute_from_command_line
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from megapolis import handler, protocol
from megapolis.admission import ApiAdmission
from megapolis.connection import Connection


def slow_clients() -> None:
    """Take uvicorn's own protocol, which waits for ever and takes heads of any size."""
    protocol.PatientProtocol = HttpToolsProtocol  # type: ignore[assignment,misc]


def overload() -> None:
    """Count no requests in flight, and refuse none."""
    kept: Any = ApiAdmission
    kept.refuses = lambda *_: False
    kept.__enter__ = kept.__exit__ = lambda *_: None


def time_to_answer() -> None:
    """Let a view take as long as it likes."""

    class Patient(nullcontext[None]):
        def expired(self) -> bool:
            return False

    handler.asyncio = SimpleNamespace(timeout=lambda _: Patient())  # type: ignore[assignment]


def hang_ups() -> None:
    """Do not look whether the client is still there."""
    handler.CancelledByDisconnect = lambda *_, **__: nullcontext()  # type: ignore[assignment,misc]


def dead_connections() -> None:
    """Lend a connection without a look whether it lives, and how old it is."""
    kept: Any = Connection
    kept.is_alive, kept.age = True, 0.0


def headers() -> None:
    """Send no headers but those of the answer itself."""
    settings.API_HEADERS = {}


def host() -> None:
    """Believe every `Host`."""
    handler.NativeHandler._check_host = lambda *_: None  # type: ignore[assignment,method-assign]


GUARDS: dict[str, Callable[[], None]] = {
    guard.__name__: guard
    for guard in (slow_clients, overload, time_to_answer, hang_ups, dead_connections, headers, host)
}


def main() -> None:
    """Remove the guard, and run the command of manage.py."""
    guard, *command = sys.argv[1:]
    GUARDS[guard]()
    execute_from_command_line(["manage.py", *command])


if __name__ == "__main__":
    main()
