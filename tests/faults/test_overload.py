"""Twice as many requests as can be answered, at a fixed rate that waits for nobody."""

import asyncio
import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from tests.faults.conftest import Report
from tests.faults.load import Client
from tests.faults.service import Service

PROGRAM = Path(__file__).with_name("open_loop.py")
SECONDS = 60
RECOVERY = 5
STEPS = (0.8, 0.9, 1.0, 1.1)
"""Of what is served to clients who wait for their answers. They are few, whose connections are in
the caches: a load that waits for nobody comes over thousands, and is served less."""


class Seen:
    """What a load came to. `took` has the milliseconds of each status in each second."""

    def __init__(self, seconds: int, took: dict[str, dict[str, list[float]]]) -> None:
        assert set(took) <= {"200", "503"}
        self.refused = [sorted(second) for second in took.get("503", {}).values()]
        self.refusals = sum(map(len, self.refused))
        served = sum(map(len, took["200"].values()))
        self.number = served + self.refusals
        self.rate = served / seconds

    def refused_within(self, share: float) -> float:
        """Milliseconds within which this share of the refusals came, in a second as most are."""
        return median(second[int(len(second) * share)] for second in self.refused)


async def load(orders: dict[str, Any], *, seconds: int, **how: float) -> Seen:
    """Let the program ask (see there), and return what came of it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(PROGRAM)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    given = json.dumps({**orders, "seconds": seconds, **how})
    written, _ = await process.communicate(given.encode())
    assert process.returncode == 0
    answer = json.loads(written)
    assert answer["missed"] == 0
    return Seen(seconds, answer["took"])


async def peak_of(orders: dict[str, Any], *, closed: Seen) -> float:
    """Return the most answers per second that such a load gets, at one rate or another."""
    served = [await load(orders, seconds=4, rate=step * closed.rate) for step in STEPS]
    return max(seen.rate for seen in served)


@pytest.mark.faults
class TestOverload:
    async def test_is_shed_and_leaves_most_of_the_work_that_can_be_done(
        self, service: Service, token: str, report: Report, tmp_path: Path
    ) -> None:
        """The load takes a part of the same two cores, more of it the more it asks."""
        async with Client(service.port, token) as client:
            created = await client.ask("POST", "/widgets/", {"name": f"overload {tmp_path}"})
        orders = {"port": service.port, "path": created.headers["location"], "token": token}
        await load(orders, seconds=5, clients=64)
        closed = await load(orders, seconds=5, clients=64)
        before = await peak_of(orders, closed=closed)
        over = await load(orders, seconds=SECONDS, rate=2 * before)
        afterwards = await load(orders, seconds=RECOVERY, clients=64)
        peak = (before + await peak_of(orders, closed=closed)) / 2

        report.line(
            f"twice the capacity, open loop, {SECONDS} s",
            over.number,
            f"{over.refusals:,} × 503",
            note=f"{over.rate:,.0f}/s of {peak:,.0f}/s served ({over.rate / peak:.0%}), "
            f"503 within {over.refused_within(0.5):.0f} ms (median), "
            f"{over.refused_within(0.99):.0f} ms (p99); {afterwards.rate:,.0f}/s afterwards",
        )
        assert over.rate > 0.8 * peak
        assert over.rate > 0.5 * closed.rate
        assert over.refused_within(0.5) < 50
        assert afterwards.refusals == 0
        assert afterwards.rate > 0.8 * closed.rate
