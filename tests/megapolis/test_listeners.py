"""Many clients who come at once are heard soon, by the event loop that production runs on."""

import asyncio
import socket
from contextlib import ExitStack

import uvloop

from megapolis.server import LISTENERS, listeners

CLIENTS = 4 * LISTENERS


async def turns_until_all_are_heard(sockets: list[socket.socket]) -> int:
    """Let clients connect while the loop does something else, and count its turns from then on."""
    heard = 0

    class Protocol(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            nonlocal heard
            heard += 1
            transport.abort()  # type: ignore[attr-defined]

    loop, turns = asyncio.get_running_loop(), 0
    servers = [await loop.create_server(Protocol, sock=each, backlog=CLIENTS) for each in sockets]
    with ExitStack() as clients:
        for _ in range(CLIENTS):
            clients.enter_context(socket.create_connection(sockets[0].getsockname()))
        while heard < CLIENTS:
            await asyncio.sleep(0)
            turns += 1
    for server in servers:
        server.close()
    return turns


def test_a_turn_of_the_loop_takes_as_many_connections_as_there_are_listeners() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with listeners(bound) as sockets:
            turns = uvloop.run(turns_until_all_are_heard(sockets))

    assert turns < CLIENTS / 4


def test_they_are_closed_in_the_end() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with listeners(bound) as sockets:
            assert len(sockets) == LISTENERS

    assert [each.fileno() for each in sockets] == [-1] * LISTENERS
