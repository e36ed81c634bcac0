"""PostgreSQL in the box, for development and tests: see `server` for how it works.

Used wherever DATABASE_URL is empty. Importing this starts nothing; `start()` does.
"""

from typing import Literal

from megapolis import environment
from megapolis.embedded.programs import EmbeddedError
from megapolis.embedded.server import EmbeddedServer

__all__ = ["EmbeddedError", "EmbeddedServer", "start", "stop"]

default = EmbeddedServer(
    environment.BASE_DIR / ".postgres" / environment.ENVIRONMENT,
    durable=environment.ENVIRONMENT != "test",
)


def start() -> str:
    """Start or join this checkout's server; returns the folder of its socket.

    Blocks for up to a few seconds on the first call of a process, later calls cost nothing. The
    last process to exit stops the server. Raises EmbeddedError.
    """
    return default.start()


def stop(mode: Literal["fast", "immediate"] = "fast") -> None:
    """Stop this checkout's server now, whoever uses it."""
    default.stop(mode)
