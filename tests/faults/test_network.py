"""The network between the service and PostgreSQL falls silent, and nobody is told."""

import asyncio
import time
from collections.abc import Iterator

import httpx
import pytest

from megapolis.database.wire import CANCEL_TIMEOUT
from megapolis.environment import limits
from tests.faults.conftest import Report, Serve, check
from tests.faults.invariants import ask
from tests.faults.liveness import assert_alive, probed, slowest_of
from tests.faults.load import Client, Load
from tests.faults.network import Network, NetworkError, network
from tests.faults.service import Database, Service
from tests.waiting import eventually

BUDGET = limits.ANSWER_TIMEOUT + CANCEL_TIMEOUT + 1
SILENCE = 30

pytestmark = pytest.mark.faults


@pytest.fixture
def net(database: Database) -> Iterator[Network]:
    """The network between them."""
    try:
        with network(database.server.socket_folder / ".s.PGSQL.5432") as built:
            yield built
    except NetworkError as error:
        pytest.skip(str(error))


class TestSilentNetwork:
    async def test_under_load_is_answered_within_the_time_budget_and_over_soon(
        self, serve: Serve, net: Network, token: str, database: Database, report: Report
    ) -> None:
        async with serve({"DATABASE_URL": net.url}) as service:
            load = Load(service.port, token)
            async with load, probed(service) as alive:
                await load.runs()
                net.fall_silent()
                await asyncio.sleep(SILENCE)
                net.recover()
                recovered = time.monotonic()
                await load.runs()

        assert_alive(alive, seconds=SILENCE)
        assert set(load.errors) == {503}
        slowest = max(answer.seconds for answer in load.answers)
        assert slowest < BUDGET
        recovery = load.next_success(recovered) - recovered
        assert recovery < limits.DATABASE_CONNECT_TIMEOUT + 1
        check(load, database)
        report.add(
            f"the network to PostgreSQL silent for {SILENCE} s",
            load,
            recovery=recovery,
            note=f"slowest answer {slowest:.1f} s, `/livez` {slowest_of(alive)}",
        )

    async def test_of_an_idle_service_is_noticed_and_over_with_the_first_request(
        self, serve: Serve, net: Network, token: str, report: Report
    ) -> None:
        async with serve({"DATABASE_URL": net.url, "DATABASE_SILENCE": "2"}) as service:
            async with Load(service.port, token) as load:
                await load.runs()
            assert all(open_connections(service))
            net.fall_silent()
            fell = time.monotonic()
            await eventually(lambda: not any(open_connections(service)))
            noticed = time.monotonic() - fell
            net.recover()
            async with Client(service.port, token) as client:
                answers = [await client.ask("GET", "/widgets/") for _ in range(20)]

        assert {answer.status for answer in answers} == {200}
        assert answers[0].seconds < 1
        report.line(
            "the network to PostgreSQL silent, idle",
            len(answers),
            "0",
            recovery=answers[0].seconds,
            note=f"noticed after {noticed:.1f} s",
        )

    async def test_does_not_keep_staff_waiting(self, serve: Serve, net: Network) -> None:
        async with serve({"DATABASE_URL": net.url}) as service, httpx.AsyncClient() as client:
            net.fall_silent()
            started = time.monotonic()
            answer = await client.get(
                f"http://127.0.0.1:{service.port}/admin/",
                headers={"Cookie": f"sessionid={'a' * 32}"},
                timeout=60,
            )
            seconds = time.monotonic() - started
            net.recover()

        assert answer.status_code == 503
        assert seconds < limits.DATABASE_CONNECT_TIMEOUT + 1


def open_connections(service: Service) -> list[int]:
    """How many connections each worker believes it has."""
    return [ask(pid, service.probe)["open"] for pid in service.workers()]
