"""uvicorn, started with several listeners, and with a socket for each worker.

uvloop takes one new connection from a listener in each turn of its loop, because libuv does since
1.45 (https://github.com/libuv/libuv/pull/3696). A turn of a busy worker takes 5 to 10 ms: the last
of 300 clients who come at once would wait for seconds to be heard, if only to be refused. Of two
workers on one socket the same one would take nearly all of them (docs/decisions/0009-listeners.md).
"""

import resource
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Final

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from megapolis.logger import logger
from megapolis.reload import Reload
from megapolis.workers import Workers

LISTENERS: Final = 16
"""New connections that a worker takes in one turn of its loop. At each, the others look in vain:
with 32 clients that connect for every request, 1 serves 0.80 of what 16 serve, 64 serve 0.91."""


def serve(application: str, *, reload: bool, **options: Any) -> None:
    """Serve as `uvicorn.run` does, until a signal ends it. The options are those of its Config.

    Exits with STARTUP_FAILURE if it cannot start, with several workers, too.
    """
    _allow_every_descriptor()
    config = uvicorn.Config(application, **options)
    server = uvicorn.Server(config)
    with listeners(_bind(config), config.workers) as groups:
        if reload:
            Reload(config, server.run, groups[0]).run()
            return
        if config.workers > 1:
            workers = Workers(config, groups)
            workers.run()
            started = all(each.exitcode != STARTUP_FAILURE for each in workers.processes)
        else:
            with suppress(KeyboardInterrupt):
                server.run(groups[0])
            started = server.started
    if not started:
        sys.exit(STARTUP_FAILURE)


def _allow_every_descriptor() -> None:
    """Raise the soft limit, often 1024 for the sake of select(2), to the hard one.

    Each client of a worker takes a descriptor, and each worker 16 of the parent.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS calls it infinite, and has less
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _bind(config: uvicorn.Config) -> socket.socket:
    """Bind, and listen at once, before uvicorn says that it runs.

    Nobody else can share the address then, and who comes while the application starts waits for it.
    """
    bound = config.bind_socket()
    try:
        bound.listen(config.backlog)
    except OSError as exc:
        bound.close()
        logger.error("Cannot serve on {}:{}: {}.", config.host, config.port, exc)
        sys.exit(STARTUP_FAILURE)
    return bound


@contextmanager
def listeners(bound: socket.socket, workers: int = 1) -> Iterator[list[list[socket.socket]]]:
    """Within the block each worker has its `LISTENERS`, of which the socket is one.

    On Linux no two workers listen on the same socket, and each hears its part of the clients.
    """
    with ExitStack() as stack:
        sockets = [stack.enter_context(bound)]
        if workers > 1 and sys.platform == "linux":
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sockets += [stack.enter_context(_beside(bound)) for _ in range(workers - 1)]
        copies = [
            [each, *(stack.enter_context(each.dup()) for _ in range(LISTENERS - 1))]
            for each in sockets
        ]
        yield [copies[number % len(copies)] for number in range(workers)]


def _beside(bound: socket.socket) -> socket.socket:
    """Return another socket that is bound to the same address."""
    another = socket.socket(bound.family)
    another.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    another.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    another.bind(bound.getsockname())
    return another
