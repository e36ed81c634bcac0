"""New connections are accepted soon, and each worker gets its share of them."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import pytest
import uvloop

from megapolis.server import acceptor
from megapolis.server.acceptor import BATCH, NO_WORKER, Acceptor, Balance
from tests.waiting import eventually


class Worker:
    """The protocol factory of an acceptor, and its connections."""

    def __init__(self, listener: socket.socket, balance: Balance | None = None) -> None:
        self.connections: list[Any] = []
        self.is_ahead = False
        self.balance = balance
        self.acceptor = Acceptor(listener, self.protocol, others_have_fewer=self.others_have_fewer)

    def others_have_fewer(self, opening: int) -> bool:
        if self.balance is None:
            return self.is_ahead
        return self.balance.update(len(self.connections) + opening)

    def protocol(self) -> asyncio.Protocol:
        connections = self.connections

        class Protocol(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                connections.append(transport)

        return Protocol()

    async def close(self) -> None:
        if self.acceptor._listener.fileno() != -1:
            await self.acceptor.close()
        for transport in self.connections:
            transport.abort()


@asynccontextmanager
async def accepting(*balances: Balance | None) -> AsyncIterator[tuple[Any, list[Worker]]]:
    """Yield what lets clients connect, and the workers that listen on one socket."""
    with socket.create_server(("127.0.0.1", 0), backlog=500) as listener, ExitStack() as clients:
        workers = [Worker(listener.dup(), balance) for balance in balances]

        def connect(number: int) -> None:
            for _ in range(number):
                clients.enter_context(socket.create_connection(listener.getsockname()))

        yield connect, workers
        for worker in workers:
            await worker.close()


def shared(workers: int) -> list[Balance]:
    counts = [0] * workers + [NO_WORKER] * 3
    return [Balance(counts, place) for place in range(workers)]


def with_uvloop(test: Any) -> Any:
    """Run the test on the loop of the service."""

    def run() -> None:
        uvloop.run(test())

    run.__name__ = test.__name__
    return run


@with_uvloop
async def test_a_turn_of_the_loop_accepts_a_batch() -> None:
    async with accepting(None) as (connect, [worker]):
        connect(4 * BATCH)
        turns = 0
        while len(worker.connections) < 4 * BATCH:
            await asyncio.sleep(0)
            turns += 1

    assert turns < 2 * BATCH


@with_uvloop
async def test_workers_divide_the_connections() -> None:
    async with accepting(*shared(4)) as (connect, workers):
        connect(200)
        await eventually(lambda: sum(len(each.connections) for each in workers) == 200)
        parts = [len(each.connections) for each in workers]

    # Where the loop is late, a worker does not wait for the others.
    assert min(parts) >= 50 // 4
    assert max(parts) <= 50 * 2


@with_uvloop
async def test_a_new_worker_gets_the_connections_until_it_has_as_many() -> None:
    counts = [100, 0]
    async with accepting(Balance(counts, 0), Balance(counts, 1)) as (connect, [old, new]):
        old.connections += [type("", (), {"abort": lambda _: None})() for _ in range(100)]
        connect(40)
        await eventually(lambda: len(new.connections) + len(old.connections) == 140)

        assert len(new.connections) >= 40 - BATCH


@with_uvloop
async def test_a_worker_that_hangs_with_few_connections_keeps_nobody_waiting() -> None:
    counts = [0, 0]
    async with accepting(Balance(counts, 0)) as (connect, [worker]):
        connect(100)
        await eventually(lambda: len(worker.connections) == 100, within=2)


@with_uvloop
async def test_closing_accepts_what_waits() -> None:
    async with accepting(None) as (connect, [worker]):
        worker.is_ahead = True
        connect(3 * BATCH)
        await worker.acceptor.close()

        assert len(worker.connections) == 3 * BATCH


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_a_lack_of_resources_is_waited_out(error: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptor, "PAUSE", 0.01)

    @with_uvloop
    async def run() -> None:
        async with accepting() as (connect, workers):
            listener = Failing(connect, error)
            worker = Worker(listener)  # type: ignore[arg-type]
            workers.append(worker)
            await eventually(lambda: len(worker.connections) == 1)
            assert listener.calls < 10

    run()


class Failing:
    """A listening socket whose first calls of accept() fail."""

    def __init__(self, connect: Any, error: int) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.client = socket.create_connection(self.listener.getsockname())
        self.error = error
        self.calls = 0

    def accept(self) -> Any:
        self.calls += 1
        if self.calls < 3:
            raise OSError(self.error, "no resources")
        return self.listener.accept()

    def close(self) -> None:
        self.client.close()
        self.listener.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.listener, name)


@with_uvloop
async def test_closing_a_socket_that_was_shut_down_ends() -> None:
    async with accepting(None) as (_, [worker]):
        worker.acceptor._listener.shutdown(socket.SHUT_RDWR)
        await asyncio.sleep(0)
        await worker.acceptor.close()


@pytest.mark.parametrize(
    ("mine", "others", "is_ahead"),
    [
        (0, [0], False),
        (1, [0], False),
        (2, [0], True),
        (2, [1], False),
        (10, [8], False),
        (12, [8], True),
        (12, [8, 20], True),
        (126, [100], False),
        (127, [100], True),
        (5, [NO_WORKER, NO_WORKER], False),
    ],
)
def test_a_worker_is_ahead_if_another_has_clearly_fewer_connections(
    mine: int,
    others: list[int],
    is_ahead: bool,
) -> None:
    counts = [0, *others]

    assert Balance(counts, 0).update(mine) is is_ahead
    assert counts[0] == mine
