"""Workers that are killed, and a service that is told to stop."""

import asyncio
import os
import signal
import time

import pytest

from megapolis import limits
from tests.faults.conftest import Report, Serve, check, ready
from tests.faults.load import CUT, Client, Load
from tests.faults.service import Database, Service, is_running
from tests.processes import STARTED
from tests.waiting import eventually, eventually_equals

EXIT = limits.SHUTDOWN_NOTICE + limits.SHUTDOWN_TIMEOUT + 4
"""The parent looks for signals twice a second."""
CLIENTS = 100
"""Divided by chance: no worker of two gets fewer than a quarter but once in two million times."""


class TestKilledWorker:
    async def test_is_replaced_and_only_its_requests_in_flight_are_lost(
        self, service: Service, load: Load, report: Report
    ) -> None:
        async with load:
            await load.runs()
            started = service.log.count(STARTED)
            first, second = sorted(service.workers(), key=service.descriptors_of, reverse=True)
            os.kill(first, signal.SIGKILL)
            killed = time.monotonic()
            await eventually(lambda: service.log.count(STARTED) > started)
            replaced = time.monotonic() - killed
            await load.runs()
        parts = await clients_by_worker(service)

        assert min(parts) > CLIENTS / 4
        assert second in service.workers()
        assert set(load.errors) <= {CUT}
        assert load.errors[CUT] <= load.clients
        report.add(
            "kill -9 of a worker under load",
            load,
            recovery=replaced,
            note="the next one serves",
        )

    @pytest.mark.faults
    async def test_is_missed_at_once_when_it_dies_while_it_is_asked_whether_it_lives(
        self, serve: Serve
    ) -> None:
        """It is asked twice a second, and stopped it does not answer."""
        async with serve() as service:
            worker, started = service.workers()[0], service.log.count(STARTED)
            os.kill(worker, signal.SIGSTOP)
            await asyncio.sleep(1)
            os.kill(worker, signal.SIGKILL)
            killed = time.monotonic()
            await eventually(lambda: service.log.count(STARTED) > started)

            assert time.monotonic() - killed < limits.WORKER_TIMEOUT / 2


class TestSignals:
    async def test_hup_replaces_every_worker_and_fails_no_request(
        self, serve: Serve, token: str, database: Database, report: Report
    ) -> None:
        async with serve() as service:
            before = service.workers()
            load = Load(service.port, token)
            async with load:
                await load.runs()
                service.process.send_signal(signal.SIGHUP)
                told = time.monotonic()
                await eventually(lambda: not set(before) & set(service.workers()))
                replaced = time.monotonic() - told
                await load.runs()

            assert load.errors == {}
            check(load, database)
            assert min(await clients_by_worker(service)) > CLIENTS / 4
            report.add("SIGHUP under load", load, note=f"all replaced within {replaced:.1f} s")

    @pytest.mark.faults
    async def test_ttin_adds_a_worker_and_ttou_ends_none_but_such(self, serve: Serve) -> None:
        async with serve() as service:
            before = service.workers()
            service.process.send_signal(signal.SIGTTIN)
            await eventually(lambda: service.log.count(STARTED) == len(before) + 1)
            service.process.send_signal(signal.SIGTTOU)
            await eventually(lambda: service.workers() == before)
            service.process.send_signal(signal.SIGTTOU)
            await eventually(lambda: "stay" in service.log)
            assert service.workers() == before
            assert min(await clients_by_worker(service)) > CLIENTS / 4


async def clients_by_worker(service: Service) -> list[int]:
    """Let clients connect at once, and return how many each worker has got."""
    before = {pid: service.descriptors_of(pid) for pid in service.workers()}
    clients = [Client(service.port) for _ in range(CLIENTS)]
    answers = await asyncio.gather(*(client.ask("GET", "/livez") for client in clients))
    assert {answer.status for answer in answers} == {200}
    numbers = [service.descriptors_of(pid) - number for pid, number in before.items()]
    for client in clients:
        client.close()
    return numbers


async def readiness(service: Service) -> set[int]:
    """Return what all workers say: so many ask that each is asked."""
    return set(await asyncio.gather(*(ready(service) for _ in range(CLIENTS // 4))))


@pytest.mark.faults
class TestKilledParent:
    async def test_takes_its_workers_with_it(self, serve: Serve, report: Report) -> None:
        async with serve() as service:
            workers = service.workers()
            service.process.kill()
            service.process.wait()
            killed = time.monotonic()
            await eventually(lambda: not any(map(is_running, workers)))
            report.line("kill -9 of the parent", 0, "0", recovery=time.monotonic() - killed)


class TestStop:
    async def test_under_load_fails_no_request_behind_a_balancer(
        self, serve: Serve, token: str, database: Database, report: Report
    ) -> None:
        async with serve() as service:
            await eventually_equals(lambda: readiness(service), {200})
            load = Load(service.port, token)
            async with load:
                await load.runs()
                service.process.terminate()
                told = time.monotonic()
                await eventually_equals(lambda: ready(service), 503)
                assert time.monotonic() - told < limits.SHUTDOWN_NOTICE
                # As the balancer does, which has seen it: no new request, the others finish.
                await load.finish()
            await asyncio.to_thread(service.process.wait, EXIT)

            assert load.errors == {}
            check(load, database)
            assert time.monotonic() - told < EXIT
            assert "Cancel" not in service.log
            report.add("SIGTERM under load", load, note=f"exit {time.monotonic() - told:.1f} s")

    @pytest.mark.faults
    async def test_closes_what_is_idle_or_half_sent_and_cuts_a_long_request_at_the_limit(
        self, serve: Serve, token: str, database: Database, report: Report
    ) -> None:
        """The long request would last for as long as the lock is held: until all is over."""
        with database.connect() as lock:
            async with serve() as service:
                idle, half, long = (Client(service.port, token) for _ in range(3))
                await idle.ask("GET", "/livez")
                await half.connect()
                assert half.writer
                assert half.reader
                assert idle.reader
                half.writer.write(half.head("POST", "/widgets/", "Content-Length: 20") + b'{"na')
                lock.execute("BEGIN; LOCK TABLE widgets_widget")
                waiting = asyncio.create_task(long.ask("GET", "/widgets/"))
                await eventually(lambda: database.backends("active") == 1)

                service.process.terminate()
                told = time.monotonic()
                assert await idle.reader.read() == await half.reader.read() == b""
                closed = time.monotonic() - told
                answer = await waiting
                await asyncio.to_thread(service.process.wait, EXIT)
                ended = time.monotonic() - told

        assert closed < limits.SHUTDOWN_NOTICE + 2
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert answer.seconds < limits.STATEMENT_TIMEOUT + 2
        assert ended < EXIT
        for client in (idle, half, long):
            client.close()
        report.line(
            "SIGTERM with an endless request, an idle connection, a half-sent body",
            3,
            "1 × 503, 2 × closed",
            note=f"503 after {answer.seconds:.1f} s, closed after {closed:.1f} s, "
            f"exit {ended:.1f} s",
        )
