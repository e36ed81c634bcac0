"""The service with a part that a signal removes: `python -m benchmarks.removable PART run`.

SIGUSR1 removes the part, and puts it back the next time: what it costs is then measured in one
process. (Two processes of the same program differ by some hundredths.) This is for measuring, and
for nothing else. It runs in the service's own environment.
"""

import os
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "megapolis.settings")

import django

django.setup()

from django.core.management import execute_from_command_line
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from megapolis import asgi, environment
from megapolis.database.wire import Connection
from megapolis.http import api_handler
from megapolis.http.api_handler import ApiHandler
from megapolis.http.load_shedding import TimedLoadShedder
from megapolis.server import protocol
from megapolis.server.protocol import TimeoutProtocol
from megapolis.server.write_coalescing import CoalescingTransport

type Removal = AbstractContextManager[Any]


class Unlimited(nullcontext[None]):
    """What `asyncio.timeout` returns, without a time."""

    def expired(self) -> bool:
        """Whether the time is over."""
        return False


class UncheckedProtocol(HttpToolsProtocol):
    """uvicorn's own protocol, which sends an answer as ours does."""

    def connection_made(self, transport: Any) -> None:
        """Have answers leave in one piece."""
        super().connection_made(transport)
        self._coalescing_transport: Any = CoalescingTransport(transport, transport.close)

    def on_headers_complete(self) -> None:
        """Have the request answered."""
        super().on_headers_complete()
        self.cycle.transport = self._coalescing_transport

    def on_response_complete(self) -> None:
        """An answer is on its way."""
        self._coalescing_transport.end()
        super().on_response_complete()


class Protocol:
    """Makes what connections are given to."""

    made: type[HttpToolsProtocol] = TimeoutProtocol

    def __new__(cls, **arguments: Any) -> Any:
        return cls.made(**arguments)


def slow_clients() -> Removal:
    """Take a protocol which waits for ever and takes heads of any size."""
    return patch.object(Protocol, "made", UncheckedProtocol)


def overload() -> Removal:
    """Count no requests in flight, and refuse none."""

    def nothing(*_: object) -> bool:
        return False

    return patch.multiple(TimedLoadShedder, rejects=nothing, __enter__=nothing, __exit__=nothing)


def time_to_answer() -> Removal:
    """Let a view take as long as it likes."""
    return patch.object(api_handler, "asyncio", SimpleNamespace(timeout=lambda _: Unlimited()))


def hang_ups() -> Removal:
    """Do not look whether the client is still there."""
    return patch.object(api_handler, "CancelledByDisconnect", lambda *_, **__: nullcontext())


def dead_connections() -> Removal:
    """Use a connection without a look whether it lives."""
    return patch.multiple(Connection, is_alive=lambda _: True)


def headers() -> Removal:
    """Send no headers but those of the answer itself."""
    return patch.object(asgi.api_handler, "_headers", [])


def host() -> Removal:
    """Believe every `Host`."""
    return patch.object(ApiHandler, "_check_host", lambda *_: None)


def access_log() -> Removal:
    """Write no line for each request."""
    return patch.multiple(environment, ACCESS_LOG=False)


PARTS: dict[str, Callable[[], Removal]] = {
    part.__name__: part
    for part in (
        slow_clients,
        overload,
        time_to_answer,
        hang_ups,
        dead_connections,
        headers,
        host,
        access_log,
    )
}


def main() -> None:
    """Run the command of manage.py, and at each SIGUSR1 remove the part or put it back."""
    part, *command = sys.argv[1:]
    removed = ExitStack()
    is_removed = False

    def toggle(*_: object) -> None:
        nonlocal is_removed
        if is_removed:
            removed.close()
        else:
            removed.enter_context(PARTS[part]())
        is_removed = not is_removed

    signal.signal(signal.SIGUSR1, toggle)
    protocol.TimeoutProtocol = Protocol  # type: ignore[assignment,misc] # uvicorn looks it up
    execute_from_command_line(["manage.py", *command])


if __name__ == "__main__":
    main()
