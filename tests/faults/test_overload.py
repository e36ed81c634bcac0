"""Twice as many requests as can be answered, at a fixed rate that waits for nobody."""

import asyncio
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.faults.conftest import Report
from tests.faults.load import Client
from tests.faults.service import Service

PROGRAM = shutil.which("h2load")
"""It takes less of the machine than clients in Python, and keeps to a rate (nghttp2.org)."""
CLIENTS = 1600
SECONDS = 60
RECOVERY = 5


class Load(NamedTuple):
    """What a load came to: milliseconds for each answer, by its status."""

    seconds: int
    served: list[float]
    refused: list[float]

    @property
    def rate(self) -> float:
        """Answers other than refusals, per second."""
        return len(self.served) / self.seconds

    def within(self, share: float) -> float:
        """Milliseconds within which this share of the refusals came."""
        return sorted(self.refused)[int(len(self.refused) * share)] if self.refused else 0.0


class Generator:
    """h2load against one URL of the service."""

    def __init__(self, service: Service, token: str, path: str, folder: Path) -> None:
        self.url = f"http://127.0.0.1:{service.port}{path}"
        self.header = f"authorization: Bearer {token}"
        self.log = folder / "answers"

    async def run(self, seconds: int, clients: int, *options: str) -> Load:
        """Ask for so many seconds, with as many clients."""
        assert PROGRAM
        command = ["--h1", f"-D{seconds}", f"-c{clients}", *options]
        process = await asyncio.create_subprocess_exec(
            *(PROGRAM, *command, f"--log-file={self.log}", "-H", self.header, self.url),
            stdout=asyncio.subprocess.DEVNULL,
        )
        assert await process.wait() == 0
        answers: dict[str, list[float]] = {"200": [], "503": []}
        for line in self.log.read_text().splitlines():
            _, status, microseconds = line.split("\t")
            answers[status].append(int(microseconds) / 1000)
        self.log.unlink()
        return Load(seconds, answers["200"], answers["503"])


@pytest.mark.faults
@pytest.mark.skipif(PROGRAM is None, reason="needs h2load (apt-get install nghttp2-client)")
class TestOverload:
    async def test_is_shed_at_once_and_leaves_the_work_that_can_be_done(
        self, service: Service, token: str, report: Report, tmp_path: Path
    ) -> None:
        async with Client(service.port, token) as client:
            created = await client.ask("POST", "/widgets/", {"name": f"overload {tmp_path}"})
            generator = Generator(service, token, created.headers["location"], tmp_path)
            await generator.run(5, 64)
            peak = await generator.run(10, 64)
            load = asyncio.create_task(
                generator.run(SECONDS, CLIENTS, f"--rps={2 * peak.rate / CLIENTS:.3f}")
            )
            told = 0
            while not load.done():
                answer = await client.ask("GET", created.headers["location"])
                assert answer.status in {200, 503}
                if answer.status == 503:
                    assert answer.headers["retry-after"] == "1"
                    told += 1
                await asyncio.sleep(0.2)
            over = load.result()
            afterwards = await generator.run(RECOVERY, 64)

        report.line(
            f"twice the capacity, open loop, {SECONDS} s",
            len(over.served) + len(over.refused),
            f"{len(over.refused):,} × 503",
            note=f"{over.rate:,.0f}/s of {peak.rate:,.0f}/s served "
            f"({over.rate / peak.rate:.0%}), refused within {over.within(0.5):.0f} ms "
            f"(median), {over.within(0.99):.0f} ms (p99); {afterwards.rate:,.0f}/s afterwards",
        )
        assert told
        assert over.rate > 0.9 * peak.rate
        assert over.within(0.99) < 50
        assert afterwards.refused == []
        assert afterwards.rate > 0.9 * peak.rate
