"""Runs a crowd of clients against a server: a program of its own, so that nothing delays it.

`python -m benchmarks.crowd` reads a `clients.Load` as JSON from standard input and writes an
`Outcome` as JSON to standard output.
"""

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass
from statistics import median
from typing import Self

import uvloop

from benchmarks.clients import LENGTH, Burst, Crowd, Load

TICK = 0.001
BURST_LIMIT = 15.0
"""Seconds after which a client that connected in a burst counts as lost."""
PROBES = 10
SLOWER = 0.05
"""Normal are so many responses in a row, each at most so many seconds slower than usual."""
RECOVERY_LIMIT = 10.0


@dataclass(frozen=True)
class Outcome:
    """What came of a load within `seconds`."""

    seconds: float
    """Of a burst: until the last client was served."""
    served: int
    rejected: int
    """Responses other than 200."""
    lost: int
    """Requests without a response, and attempts to connect that failed."""
    missed: int
    """Requests that were not sent, because every client still waited for a response."""
    p50_ms: float
    p99_ms: float
    """Of what was served."""
    busy: float
    """The share of a core that this program used. Near 1 it limits what it measures."""
    normal_after: float | None = None
    """Seconds from the end of the load until responses came as before it."""


class Meter:
    """Has the responses counted within the block, and sums them up."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd

    def __enter__(self) -> Self:
        self._crowd.counting = True
        self._started, self._cpu = time.monotonic(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self._crowd.counting = False
        self.seconds = time.monotonic() - self._started
        self.busy = (time.process_time() - self._cpu) / self.seconds

    def outcome(self, *, missed: int = 0, normal_after: float | None = None) -> Outcome:
        """Return what was counted."""
        crowd = self._crowd
        took = sorted(crowd.served) or [0.0]
        return Outcome(
            seconds=self.seconds,
            served=len(crowd.served),
            rejected=crowd.rejected,
            lost=crowd.lost,
            missed=missed,
            p50_ms=took[len(took) // 2] * 1000,
            p99_ms=took[int(len(took) * 0.99)] * 1000,
            busy=self.busy,
            normal_after=normal_after,
        )


async def run_closed(load: Load) -> Outcome:
    """Have each client ask again at once, and count after a while."""
    crowd = Crowd(load)
    await crowd.connect_all()
    crowd.ask_again()
    await asyncio.sleep(load.warm_up)
    with Meter(crowd) as meter:
        await asyncio.sleep(load.seconds)
    crowd.over = True
    return meter.outcome()


async def run_open(load: Load) -> Outcome:
    """Send requests at the rate; then see when the service is as fast again as before."""
    crowd = Crowd(load)
    await crowd.connect_all()
    usual = median([await probe(crowd) for _ in range(PROBES)])
    await _send_at_rate(crowd, load.warm_up)
    with Meter(crowd) as meter:
        missed = await _send_at_rate(crowd, load.seconds)
    ended = time.monotonic()
    normal = await _normal_again(crowd, usual, ended + RECOVERY_LIMIT)
    crowd.over = True
    return meter.outcome(missed=missed, normal_after=normal and max(0.0, normal - ended))


async def run_burst(load: Load) -> Outcome:
    """Have all clients connect at once."""
    crowd = Burst(load)
    with Meter(crowd) as meter:
        connecting = asyncio.gather(*(crowd.connect() for _ in range(load.clients)))
        try:
            async with asyncio.timeout(BURST_LIMIT):
                await crowd.finished.wait()
        except TimeoutError:
            connecting.cancel()
    crowd.lost = load.clients - len(crowd.served) - crowd.rejected
    return meter.outcome()


async def _send_at_rate(crowd: Crowd, seconds: float) -> int:
    """Return how many requests found no client."""
    rate, started = crowd.load.rate, time.monotonic()
    sent = missed = 0
    while (elapsed := time.monotonic() - started) < seconds:
        due = int(elapsed * rate) - sent
        sent += due
        for left in range(due, 0, -1):
            if not crowd.idle:
                missed += left
                break
            crowd.idle.popleft().ask()
        await asyncio.sleep(TICK)
    return missed


async def probe(crowd: Crowd) -> float:
    """Return how many seconds a request on a connection of its own takes.

    Infinity stands for one that is not served.
    """
    started = time.monotonic()
    try:
        async with asyncio.timeout(RECOVERY_LIMIT):
            reader, writer = await asyncio.open_connection("127.0.0.1", crowd.load.port)
            writer.write(next(crowd.requests))
            head = await reader.readuntil(b"\r\n\r\n")
            length = LENGTH.search(head)
            await reader.readexactly(int(length[1]) if length else 0)
            writer.close()
    except (OSError, EOFError):
        return float("inf")
    return time.monotonic() - started if head[9:12] == b"200" else float("inf")


async def _normal_again(crowd: Crowd, usual: float, limit: float) -> float | None:
    """Return when the first of some normal responses in a row was asked for, or None."""
    since, in_a_row = 0.0, 0
    while (now := time.monotonic()) < limit:
        if await probe(crowd) > usual + SLOWER:
            in_a_row = 0
        else:
            since = since if in_a_row else now
            in_a_row += 1
        if in_a_row == PROBES:
            return since
        await asyncio.sleep(5 * TICK)
    return None


async def main() -> None:
    """Run the load that standard input describes."""
    load = Load(**json.load(sys.stdin))
    run = run_burst if not load.seconds else run_open if load.rate else run_closed
    json.dump(asdict(await run(load)), sys.stdout)


if __name__ == "__main__":
    uvloop.run(main())
