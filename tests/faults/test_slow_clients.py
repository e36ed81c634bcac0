"""Clients that are slow to send or do not read: each is cut, and the others do not notice them."""

import asyncio
import socket
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, suppress
from statistics import median

import pytest

from megapolis.environment import limits
from tests.faults.conftest import Report
from tests.faults.load import Client, Load
from tests.faults.service import Database, Service
from tests.waiting import eventually_equals

NUMBER = 500
PER_SECOND = 50
"""New ones, so that what they ask for is little work; all are there together for five seconds."""
GRACE = 2.0
REQUESTS = 5000
NOISE = 0.010
"""A p99 below this many seconds is taken for this many: the machine alone can make as much."""
PAGE = "/widgets/?limit=100&search=%F0%9F%A7%A9"

type Crowd = Callable[[Service, str], Awaitable[list[float]]]


async def slow_heads(service: Service, token: str) -> list[float]:
    return await dawdlers(service, b"GET /widgets/ HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ")


async def slow_bodies(service: Service, token: str) -> list[float]:
    return await dawdlers(
        service, Client(0, token).head("POST", "/widgets/", "Content-Length: 100") + b"{"
    )


async def dawdlers(service: Service, beginning: bytes) -> list[float]:
    """Connect them one after the other; return the seconds after which each was cut."""

    async def dawdle(number: int) -> float:
        await asyncio.sleep(number / PER_SECOND)
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        started = time.monotonic()
        writer.write(beginning)
        with suppress(ConnectionError):
            while not reader.at_eof() and time.monotonic() - started < 30:
                with suppress(TimeoutError):
                    async with asyncio.timeout(5):
                        assert await reader.read(1) == b""
                writer.write(b"a")
        writer.close()
        return time.monotonic() - started

    return await asyncio.gather(*map(dawdle, range(NUMBER)))


async def readers_of_nothing(service: Service, token: str) -> list[float]:
    """Ask for large pages again and again; the seconds after which the service let go of each."""
    requests = Client(0, token).head("GET", PAGE) * 20
    started: dict[int, float] = {}
    cut: list[float] = []
    loop = asyncio.get_running_loop()
    with ExitStack() as sockets:
        for _ in range(NUMBER):
            reader = sockets.enter_context(socket.socket())
            # With small segments the service's kernel takes little off its hands.
            reader.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.setblocking(False)
            await loop.sock_connect(reader, ("127.0.0.1", service.port))
            await loop.sock_sendall(reader, requests)
            last = reader.getsockname()[1]
            started[last] = time.monotonic()
            await asyncio.sleep(1 / PER_SECOND)

        async def last_is_held() -> bool:
            return last in await held(service)

        await eventually_equals(last_is_held, True)
        while started and time.monotonic() - max(started.values()) < 30:
            await asyncio.sleep(0.25)
            gone = started.keys() - await held(service)
            cut += [time.monotonic() - started.pop(port) for port in gone]
    assert not started
    return cut


async def held(service: Service) -> set[int]:
    """The ports of the clients whose connections belong to a process of the service.

    They are found by another program, because the others are clients of this one: the list has
    those, too, that ended within a minute, after an overload some 10,000.
    """
    local, remote, inode = f" 0100007F:{service.port:04X}", r" 0100007F:\w{4}", "[1-9]"
    listing = await asyncio.create_subprocess_exec(
        *("grep", "-oE", rf"{local}{remote}( +\S+){{6}} {inode}", "/proc/net/tcp"),
        stdout=asyncio.subprocess.PIPE,
    )
    written, _ = await listing.communicate()
    return {int(line.split()[1].partition(b":")[2], 16) for line in written.splitlines()}


CROWDS: dict[str, Crowd] = {
    "slow headers": slow_heads,
    "slow bodies": slow_bodies,
    "no reading": readers_of_nothing,
}


@pytest.fixture
def large_page(database: Database, token: str) -> Iterator[None]:
    """A hundred widgets whose names take 1 KB each."""
    database.execute(
        "INSERT INTO widgets_widget (name, owner_id) SELECT repeat('🧩', 240) || number, "
        "(SELECT min(id) FROM accounts_user) FROM generate_series(1, 100) number"
    )
    yield
    database.execute("DELETE FROM widgets_widget WHERE name LIKE '🧩%%'")


@pytest.mark.faults
@pytest.mark.usefixtures("large_page")
class TestSlowClients:
    @pytest.mark.parametrize("kind", CROWDS)
    async def test_are_cut_and_do_not_slow_the_others_down(
        self, service: Service, token: str, load: Load, report: Report, kind: str
    ) -> None:
        """It is compared with the same load alone, before or after, whichever was worse."""
        before = await p99_alone(service, token)
        async with load:
            cut = await CROWDS[kind](service, token)
        after = await p99_alone(service, token)

        assert len(cut) == NUMBER
        assert min(cut) > limits.RECEIVE_TIMEOUT - GRACE
        assert max(cut) < limits.RECEIVE_TIMEOUT + GRACE
        assert load.errors == {}
        during = p99(load)
        assert during < 2 * max(NOISE, before, after)
        report.add(
            f"{NUMBER} clients: {kind}",
            load,
            note=f"cut after {max(cut):.1f} s, p99 of the others {during * 1000:.0f} ms, without "
            f"{before * 1000:.0f} and {after * 1000:.0f} ms",
        )


async def p99_alone(service: Service, token: str) -> float:
    alone = Load(service.port, token)
    async with alone:
        await alone.runs(REQUESTS)
    return p99(alone)


def p99(load: Load) -> float:
    """That of each second, and of those the median.

    Whatever else the machine does spoils some of the seconds; 500 clients would spoil all.
    """
    seconds = defaultdict(list)
    for answer in load.answers:
        seconds[int(answer.at)].append(answer.seconds)
    return median(sorted(times)[int(len(times) * 0.99)] for times in seconds.values())
