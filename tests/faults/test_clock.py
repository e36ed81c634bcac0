"""A clock that somebody sets while the service runs. Timeouts and limits count by another one.

libfaketime stands between the service and the clock (`CLOCK_REALTIME` alone), and reads anew at
each look how far it is off.
"""

import asyncio
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from megapolis.environment import limits
from tests.faults.conftest import Report, Serve, check
from tests.faults.load import Answer, Client, Load
from tests.faults.service import Database, make_token
from tests.waiting import eventually, eventually_equals

LIBRARY = next(Path("/usr/lib").glob("**/faketime/libfaketimeMT.so.1"), None)
HOUR = 3600
PER_MINUTE = 5

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(
        LIBRARY is None, reason="libfaketime is not installed (apt-get install faketime)."
    ),
]


class Clock:
    """The clock of what is started with `variables`."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.set(0)

    def set(self, hours: int) -> None:
        """Have it be so many hours off from now on."""
        new = self.file.with_suffix(".new")
        new.write_text(f"{hours * HOUR:+d}\n")
        new.rename(self.file)

    @property
    def variables(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "EXCHANGE_LIMIT_PER_MINUTE": str(PER_MINUTE),
        }


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path / "clock")


@pytest.fixture
def old_token(given: dict[str, str], clock: Clock) -> str:
    """A token that was issued two hours ago: before every time to which the clock is set."""
    clock.set(-2)
    token = make_token(given | clock.variables)
    clock.set(0)
    return token


def hours_off(answer: Answer) -> float:
    """How far the clock of the service is off."""
    told = parsedate_to_datetime(answer.headers["date"])
    return round((told - datetime.now(UTC)).total_seconds() / HOUR, 2)


class TestClock:
    async def test_that_jumps_an_hour_either_way_is_not_noticed(
        self, serve: Serve, clock: Clock, old_token: str, database: Database, report: Report
    ) -> None:
        async with serve(clock.variables) as service:
            load = Load(service.port, old_token)
            async with load, Client(service.port, old_token) as client:
                for hours in (1, 0, -1, 0):
                    await load.runs()
                    clock.set(hours)
                    await eventually_off(client, hours)
                    await load.runs()

        assert load.errors == {}
        check(load, database)
        slowest = max(answer.seconds for answer in load.answers)
        assert slowest < 1
        report.add(
            "clock jumps an hour either way", load, note=f"slowest answer {slowest * 1000:.0f} ms"
        )

    @pytest.mark.parametrize("hours", [1, -1])
    async def test_that_jumps_moves_no_timeout_and_no_limit(
        self, serve: Serve, clock: Clock, old_token: str, database: Database, hours: int
    ) -> None:
        body = {"access_token": "nobody's"}
        async with (
            serve(clock.variables, workers=1) as service,
            Client(service.port, old_token) as client,
        ):
            with database.connect() as lock:
                lock.execute("BEGIN; LOCK TABLE widgets_widget")
                async with Client(service.port, old_token) as patient:
                    started = time.monotonic()
                    waiting = asyncio.create_task(patient.ask("GET", "/widgets/"))
                    await eventually(lambda: database.backends("active") == 1)
                    exchanges = [
                        await client.ask("POST", "/auth/token", body) for _ in range(PER_MINUTE + 1)
                    ]
                    clock.set(hours)
                    await eventually_off(client, hours)
                    exchanges.append(await client.ask("POST", "/auth/token", body))
                    assert not waiting.done()
                    assert time.monotonic() - started < limits.STATEMENT_TIMEOUT
                    answer = await waiting
            clock.set(0)

        assert [x.status for x in exchanges] == [401] * PER_MINUTE + [429, 429]
        assert int(exchanges[-1].headers["retry-after"]) <= 60 / PER_MINUTE
        assert answer.status == 503
        assert abs(answer.seconds - limits.STATEMENT_TIMEOUT) < 1


async def eventually_off(client: Client, hours: int) -> None:
    """Wait until the service shows the new time. It writes a new date each second."""

    async def asked() -> float:
        return hours_off(await client.ask("GET", "/livez"))

    await eventually_equals(asked, hours)
