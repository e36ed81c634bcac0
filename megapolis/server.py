"""uvicorn, started with several listeners on one socket.

uvloop takes one new connection from a listener in each turn of its loop, because libuv does since
1.45 (https://github.com/libuv/libuv/pull/3696). A turn of a busy worker takes 5 to 10 ms: the last
of 300 clients who come at once would wait for seconds to be heard, if only to be refused.
"""

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Final

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from megapolis.reload import Reload

LISTENERS: Final = 16
"""New connections that a worker takes in one turn of its loop. At each, the others look in vain:
with 32 clients that connect for every request, 1 serves 0.80 of what 16 serve, 64 serve 0.91."""


def serve(application: str, *, reload: bool, **options: Any) -> None:
    """Serve as `uvicorn.run` does, until a signal ends it. The options are those of its Config.

    Exits with STARTUP_FAILURE if it cannot start, with several workers, too.
    """
    config = uvicorn.Config(application, **options)
    server = uvicorn.Server(config)
    with listeners(config.bind_socket()) as sockets:
        if reload:
            Reload(config, server.run, sockets).run()
            return
        if config.workers > 1:
            workers = Multiprocess(config, sockets)
            workers.run()
            started = all(each.exitcode != STARTUP_FAILURE for each in workers.processes)
        else:
            with suppress(KeyboardInterrupt):
                server.run(sockets)
            started = server.started
    if not started:
        sys.exit(STARTUP_FAILURE)


@contextmanager
def listeners(bound: socket.socket) -> Iterator[list[socket.socket]]:
    """Within the block there are `LISTENERS` of the socket, itself one of them."""
    with ExitStack() as stack:
        copies = [stack.enter_context(bound.dup()) for _ in range(LISTENERS - 1)]
        yield [stack.enter_context(bound), *copies]
