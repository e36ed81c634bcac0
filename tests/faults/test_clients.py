"""Clients that hang up, are slow, are many, or send too much."""

import asyncio
import resource
import time
from contextlib import suppress

import pytest

from megapolis import environment, limits
from tests.faults.conftest import Report
from tests.faults.load import Client, Load
from tests.faults.service import WORKERS, Database, Service
from tests.waiting import eventually

GIGABYTE = 1024**3


async def connected(service: Service, token: str, number: int) -> list[Client]:
    """Return so many clients that are connected, a few hundred at a time."""
    clients = [Client(service.port, token) for _ in range(number)]
    for start in range(0, number, 200):
        await asyncio.gather(*(client.connect() for client in clients[start : start + 200]))
    return clients


class TestHangingUp:
    @pytest.mark.parametrize("number", [200, pytest.param(2000, marks=pytest.mark.faults)])
    async def test_leaves_nothing_behind(
        self, service: Service, token: str, database: Database, report: Report, number: int
    ) -> None:
        # A pool that is not full yet, or lost connections to an earlier fault, may grow meanwhile.
        def others() -> int:
            return service.descriptors() - database.backends()

        before = others()
        for start in range(0, number, 100):
            clients = await connected(service, token, 100)
            for index, client in enumerate(clients):
                assert client.writer
                body = b'{"name": "hung up %d"}' % (start + index)
                length = f"Content-Length: {len(body) + index % 2}"  # every second one half sent
                head = client.head("POST", "/widgets/", "Content-Type: application/json", length)
                client.writer.write(head + body)
            await asyncio.sleep(0)
            for client in clients:
                client.close()

        await eventually(lambda: others() <= before + 4)
        assert database.backends() <= WORKERS * environment.DATABASE_POOL_SIZE
        async with Client(service.port, token) as client:
            answer = await client.ask("GET", "/widgets/")
        [[stored]] = database.execute(
            "SELECT count(*) FROM widgets_widget WHERE name LIKE 'hung up %%'"
        )
        database.execute("DELETE FROM widgets_widget WHERE name LIKE 'hung up %%'")
        assert answer.status == 200
        assert stored <= number / 2
        report.line(f"{number:,} clients that hang up", number, "–", recovery=answer.seconds)


@pytest.mark.faults
class TestSlowClients:
    async def test_are_cut_and_do_not_slow_the_others_down(
        self, service: Service, token: str, load: Load, report: Report
    ) -> None:
        quiet = Load(service.port, token)
        async with quiet:
            await quiet.runs(500)
        slow = await connected(service, token, 500)
        started = time.monotonic()
        for index, client in enumerate(slow):
            assert client.writer
            body = client.head("POST", "/widgets/", "Content-Length: 100") + b"{"
            client.writer.write(body if index % 2 else b"GET /widgets/ HTTP/1.1\r\nHost:")

        async def trickle(client: Client) -> float:
            assert client.writer
            assert client.reader
            with suppress(OSError):
                while not client.reader.at_eof() and time.monotonic() - started < 30:
                    client.writer.write(b" ")
                    with suppress(TimeoutError):
                        assert await asyncio.wait_for(client.reader.read(1), 5) == b""
            client.close()
            return time.monotonic() - started

        async with load:
            cut = await asyncio.gather(*map(trickle, slow))

        assert max(cut) < limits.RECEIVE_TIMEOUT + 2
        assert load.errors == {}
        report.add(
            "500 slow clients (heads and bodies)",
            load,
            note=f"cut after {max(cut):.1f} s, p99 of others {load.seconds(0.99) * 1000:.0f} ms, "
            f"{quiet.seconds(0.99) * 1000:.0f} ms without",
        )


@pytest.mark.faults
class TestIdleConnections:
    async def test_keep_nobody_out(self, service: Service, token: str, report: Report) -> None:
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        number = min(10_000, most - 1000)
        idle = await connected(service, token, number)
        async with Client(service.port, token) as client:
            answer = await client.ask("GET", "/widgets/")
        for other in idle:
            other.close()

        assert answer.status == 200
        report.line(f"{number:,} idle connections", 1, "0", recovery=answer.seconds)


class TestGigabyte:
    @pytest.mark.parametrize(
        "headers",
        [
            [f"Content-Length: {GIGABYTE}"],
            [f"Content-Length: {GIGABYTE}", "Expect: 100-continue"],
            ["Transfer-Encoding: chunked"],
        ],
        ids=["with its length", "that is announced", "in chunks"],
    )
    async def test_is_refused_early_with_flat_memory(
        self, service: Service, token: str, report: Report, headers: list[str]
    ) -> None:
        before = service.megabytes()
        async with Client(service.port, token) as client:
            await client.connect()
            assert client.reader
            assert client.writer
            client.writer.write(client.head("POST", "/widgets/", *headers))
            answer = asyncio.create_task(client.reader.readline())
            chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
            sent = 0
            with suppress(OSError):
                while "chunked" in headers[0] and not answer.done() and sent < GIGABYTE:
                    client.writer.write(chunk)
                    await client.writer.drain()
                    sent += len(chunk)
            assert (await answer).startswith(b"HTTP/1.1 413 ")

        assert service.megabytes() - before < 32
        report.line(
            f"1 GB body, {headers[-1].split(':')[0]}", 1, "1 × 413", note=f"{sent >> 20} MiB sent"
        )
