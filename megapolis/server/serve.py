"""Serves the application in one process, in several workers, or again with each change."""

import resource
import sys
from contextlib import suppress
from typing import Any

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from megapolis.server.listener import bind
from megapolis.server.reload import Reload
from megapolis.server.supervisor import Supervisor
from megapolis.server.uvicorn_server import Server


def serve(application: str, *, reload: bool, workers: int, **options: Any) -> None:
    """Serve as `uvicorn.run` does, until a signal ends it. The options are those of its Config.

    Exits with STARTUP_FAILURE if no worker can start.
    """
    _allow_every_descriptor()
    config = uvicorn.Config(application, **options)
    listener = bind(config)
    if workers > 1:
        started = Supervisor(config, listener, workers).run()
    elif reload:
        Reload(config, Server(config).run, [listener]).run()
        started = True
    else:
        server = Server(config, owns_listener=True)
        with suppress(KeyboardInterrupt):
            server.run([listener])
        started = server.started
    listener.close()
    if not started:
        sys.exit(STARTUP_FAILURE)


def _allow_every_descriptor() -> None:
    """Raise the soft limit, often 1024 for the sake of select(2), to the hard one.

    Each client of a worker takes a descriptor.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS calls it infinite, and has less
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
