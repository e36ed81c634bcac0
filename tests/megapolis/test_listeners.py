"""Many clients who come at once are heard soon, and each worker gets its part of them."""

import asyncio
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest
import uvicorn
import uvloop

from megapolis.server import LISTENERS, _bind, listeners

CLIENTS = 4 * LISTENERS


@pytest.fixture
def bound() -> Iterator[socket.socket]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound


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


def waiting(listener: socket.socket) -> int:
    """Take all who wait at this listener, and return how many they were."""
    listener.setblocking(False)
    number = 0
    with suppress(BlockingIOError):
        while True:
            listener.accept()[0].close()
            number += 1
    return number


def test_a_turn_of_the_loop_takes_as_many_connections_as_there_are_listeners(
    bound: socket.socket,
) -> None:
    with listeners(bound) as [sockets]:
        turns = uvloop.run(turns_until_all_are_heard(sockets))

    assert turns < CLIENTS / 4


@pytest.mark.skipif(sys.platform != "linux", reason="others do not divide the clients")
def test_each_of_several_workers_gets_its_part_of_the_clients(bound: socket.socket) -> None:
    with listeners(bound, workers=2) as groups, ExitStack() as clients:
        for first, *_ in groups:
            first.listen(200)
        for _ in range(200):
            clients.enter_context(socket.create_connection(bound.getsockname()))
        parts = [waiting(first) for first, *_ in groups]

    assert sum(parts) == 200
    assert min(parts) > 50


def test_the_listeners_of_a_worker_hear_the_same_clients(bound: socket.socket) -> None:
    with listeners(bound, workers=2) as groups, ExitStack() as clients:
        for first, *_ in groups:
            first.listen()
        for _ in range(20):
            clients.enter_context(socket.create_connection(bound.getsockname()))
        assert sum(waiting(last) for _, *_, last in groups) == 20


@pytest.mark.parametrize("workers", [1, 3])
def test_nobody_else_can_listen_at_the_same_address(bound: socket.socket, workers: int) -> None:
    with listeners(bound, workers) as groups, socket.socket() as another:
        for first, *_ in groups:
            first.listen()
        another.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):
            another.bind(bound.getsockname())


@pytest.fixture(params=[1, 2])
def config(request: pytest.FixtureRequest) -> uvicorn.Config:
    workers = request.param
    return uvicorn.Config("megapolis.asgi:application", port=0, workers=workers, log_config=None)


def test_who_connects_while_the_application_starts_is_not_refused(config: uvicorn.Config) -> None:
    with _bind(config) as bound, socket.create_connection(bound.getsockname()):
        assert waiting(bound) == 1


def test_two_services_that_start_at_once_do_not_share_an_address(
    config: uvicorn.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both can bind, for neither listens yet."""
    first = config.bind_socket()
    config.port = first.getsockname()[1]
    both = iter([first, config.bind_socket()])
    monkeypatch.setattr(config, "bind_socket", lambda: next(both))

    with _bind(config) as bound, listeners(bound, config.workers), pytest.raises(SystemExit):
        _bind(config)


@pytest.mark.parametrize("workers", [1, 3])
def test_they_are_closed_in_the_end(bound: socket.socket, workers: int) -> None:
    with listeners(bound, workers) as groups:
        sockets = [each for group in groups for each in group]

    assert len(sockets) == workers * LISTENERS
    assert {each.fileno() for each in sockets} == {-1}
