"""Workers that are killed, and a service that is told to stop."""

import asyncio
import os
import signal
import time
from pathlib import Path

from megapolis import limits
from tests.faults.conftest import Report, check
from tests.faults.load import CUT, Client, Load
from tests.faults.service import Database, Service, is_running, running
from tests.waiting import eventually, eventually_equals

EXIT = limits.SHUTDOWN_NOTICE + limits.SHUTDOWN_TIMEOUT + 4
"""The parent looks for signals twice a second."""


class TestKilledWorker:
    async def test_is_replaced_and_only_its_requests_in_flight_are_lost(
        self, service: Service, load: Load, report: Report
    ) -> None:
        async with load:
            await load.runs()
            first, second = sorted(service.workers(), key=service.descriptors_of, reverse=True)
            os.kill(first, signal.SIGKILL)
            killed = time.monotonic()
            await eventually(lambda: len(set(service.workers()) - {first}) == 2)
            replaced = time.monotonic() - killed
            await load.runs()

        assert second in service.workers()
        assert set(load.errors) <= {CUT}
        assert load.errors[CUT] <= load.clients
        report.add("kill -9 of a worker under load", load, recovery=replaced, note="replaced")


class TestKilledParent:
    async def test_takes_its_workers_with_it(
        self, given: dict[str, str], tmp_path: Path, report: Report
    ) -> None:
        with running(given, tmp_path) as service:
            workers = service.workers()
            service.process.kill()
            service.process.wait()
            killed = time.monotonic()
            await eventually(lambda: not any(map(is_running, workers)))
            report.line("kill -9 of the parent", 0, "0", recovery=time.monotonic() - killed)


class TestStop:
    async def test_under_load_fails_no_request_behind_a_balancer(
        self,
        given: dict[str, str],
        tmp_path: Path,
        token: str,
        database: Database,
        report: Report,
    ) -> None:
        with running(given, tmp_path) as service:
            load = Load(service.port, token)
            async with load:
                await load.runs()
                assert await ready(service) == 200
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

    async def test_closes_what_is_idle_or_half_sent_and_lets_a_long_request_end(
        self,
        given: dict[str, str],
        tmp_path: Path,
        token: str,
        database: Database,
        report: Report,
    ) -> None:
        with running(given, tmp_path) as service, database.connect() as lock:
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

            assert closed < limits.SHUTDOWN_NOTICE + 2
            assert answer.status == 503
            assert time.monotonic() - told < EXIT
            for client in (idle, half, long):
                client.close()
            report.line(
                "SIGTERM, idle and half-sent connections, a long request",
                3,
                "1 × 503",
                note=f"closed after {closed:.1f} s",
            )


async def ready(service: Service) -> int:
    async with Client(service.port) as client:
        return (await client.ask("GET", "/readyz")).status
