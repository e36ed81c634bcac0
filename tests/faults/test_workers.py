"""Supervisor that are killed, and a service that is told to stop."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from uvicorn.config import STARTUP_FAILURE

from megapolis.environment import limits
from tests.faults import nginx
from tests.faults.conftest import Report, Serve, check, ready
from tests.faults.load import CUT, REFUSED, Client, Load
from tests.faults.service import Database, Service, is_running, running
from tests.processes import STARTED
from tests.waiting import eventually, eventually_equals

EXIT = limits.SHUTDOWN_NOTICE + limits.SHUTDOWN_TIMEOUT + 4
TIMEOUT = limits.SHUTDOWN_TIMEOUT - limits.ANSWER_TIMEOUT
"""Seconds in which a partial request must be completed."""
CLIENTS = 100


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
    async def test_is_replaced_immediately_when_it_hung_before(self, serve: Serve) -> None:
        async with serve() as service:
            worker, started = service.workers()[0], service.log.count(STARTED)
            os.kill(worker, signal.SIGSTOP)
            await asyncio.sleep(1)
            os.kill(worker, signal.SIGKILL)
            killed = time.monotonic()
            await eventually(lambda: service.log.count(STARTED) > started)

            assert time.monotonic() - killed < limits.WORKER_TIMEOUT / 2

    @pytest.mark.parametrize(
        "number",
        [
            signal.SIGKILL,
            signal.SIGSTOP,
            pytest.param(signal.SIGTERM, marks=pytest.mark.faults),
        ],
    )
    async def test_or_one_that_hangs_or_stops_delays_no_new_connection(
        self, serve: Serve, token: str, database: Database, report: Report, number: signal.Signals
    ) -> None:
        async with serve() as service:
            worker = service.workers()[0]
            load = Load(service.port, token, clients=8, per_second=200, reconnects=True)
            async with load:
                await load.runs()
                os.kill(worker, number)
                begun = time.monotonic()
                await asyncio.sleep(3)
            os.kill(service.workers()[0], signal.SIGCONT)
            in_its_hands = [x for x in load.answers if x.at - x.seconds <= begun <= x.at]
            others = sorted(x.seconds for x in load.answers if x.at - x.seconds > begun)

        check(load, database)
        assert load.errors.total() <= len(in_its_hands) <= load.clients
        assert others[-1] < 1
        p99 = others[int(len(others) * 0.99)]
        report.add(
            f"{number.name} to a worker, new connections",
            load,
            note=f"p99 {p99 * 1000:.0f} ms, at most {others[-1] * 1000:.0f} ms",
        )


class TestWorkerThatCannotStart:
    """A package has become one that cannot be imported, as after a failed deployment."""

    @pytest.fixture
    def package(self, tmp_path: Path) -> Path:
        return tmp_path / "uvloop.py"

    @pytest.fixture
    def service(self, given: dict[str, str], tmp_path: Path, package: Path) -> Iterator[Service]:
        found_first = f"{given['PYTHONPATH']}:{tmp_path}"
        with running(given | {"PYTHONPATH": found_first}, tmp_path) as service:
            package.write_text("raise ImportError('broken')")
            yield service

    async def test_leaves_its_clients_to_the_others_until_it_can(
        self, service: Service, token: str, package: Path, report: Report
    ) -> None:
        started = service.log.count(STARTED)
        load = Load(service.port, token, clients=8, per_second=200, reconnects=True)
        async with load:
            await load.runs()
            os.kill(service.workers()[0], signal.SIGKILL)
            await eventually(lambda: service.log.count("ended with 1") >= 1, within=40)
            await asyncio.to_thread(package.unlink)
            await eventually(lambda: service.log.count(STARTED) > started, within=40)

        assert set(load.errors) <= {CUT}
        assert load.errors.total() <= load.clients
        slowest = max(load.answers, key=lambda answer: answer.seconds).seconds
        assert slowest < 1
        report.add(
            "a worker that cannot start", load, note=f"slowest answer {slowest * 1000:.0f} ms"
        )

    @pytest.mark.faults
    async def test_keeps_the_old_ones_at_a_restart(self, service: Service) -> None:
        before = service.workers()
        service.process.send_signal(signal.SIGHUP)
        await eventually(lambda: "ended with 1" in service.log)

        assert service.workers() == before
        await eventually_equals(lambda: ready(service), 200)

    @pytest.mark.faults
    async def test_ends_the_service_if_no_other_is_left(self, service: Service) -> None:
        for worker in service.workers():
            os.kill(worker, signal.SIGKILL)

        assert await asyncio.to_thread(service.process.wait, 60) == STARTUP_FAILURE


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
                await eventually(lambda: not set(before) & set(service.workers()), within=60)
                replaced = time.monotonic() - told
                await load.runs()

            assert load.errors == {}
            check(load, database)
            assert min(await clients_by_worker(service)) > CLIENTS / 4
            report.add("SIGHUP under load", load, note=f"all replaced within {replaced:.1f} s")

    @nginx.needed
    @pytest.mark.faults
    @pytest.mark.parametrize("workers", [2, 4])
    async def test_hup_behind_nginx_fails_no_request(
        self,
        serve: Serve,
        token: str,
        database: Database,
        report: Report,
        tmp_path: Path,
        workers: int,
    ) -> None:
        async with serve(workers=workers) as service:
            before = service.workers()
            with nginx.nginx(tmp_path, service) as port:
                load = Load(port, token, per_second=400)
                async with load:
                    await load.runs(500)
                    service.process.send_signal(signal.SIGHUP)
                    await eventually(lambda: not set(before) & set(service.workers()), within=60)
                    await load.runs(1500)

            assert load.errors == {}
            check(load, database)
            report.add(f"SIGHUP behind nginx, `--workers {workers}`", load)

    @pytest.mark.faults
    async def test_ttin_adds_a_worker_and_ttou_ends_one(
        self, serve: Serve, token: str, database: Database
    ) -> None:
        async with serve() as service:
            before = service.workers()
            load = Load(service.port, token, reconnects=True)
            async with load:
                service.process.send_signal(signal.SIGTTIN)
                await eventually(lambda: service.log.count(STARTED) == len(before) + 1)
                service.process.send_signal(signal.SIGTTOU)
                await eventually(lambda: service.workers() == before)
                await load.runs()

            assert load.errors == {}
            check(load, database)
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
    @pytest.mark.parametrize("workers", [1, 2, pytest.param(4, marks=pytest.mark.faults)])
    @pytest.mark.parametrize(
        "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.faults)]
    )
    async def test_serves_every_connection_that_was_accepted(
        self,
        serve: Serve,
        token: str,
        database: Database,
        report: Report,
        workers: int,
        number: signal.Signals,
    ) -> None:
        async with serve({"SHUTDOWN_NOTICE": "1"}, workers=workers) as service:
            load = Load(service.port, token, per_second=300, reconnects=True)
            async with load:
                await load.runs()
                service.process.send_signal(number)
                await asyncio.to_thread(service.process.wait, EXIT)

        assert set(load.errors) == {REFUSED}
        check(load, database)
        report.add(f"{number.name}, `--workers {workers}`, new connections", load)

    @nginx.needed
    @pytest.mark.faults
    @pytest.mark.parametrize("workers", [1, 2, 4])
    async def test_of_one_of_two_services_behind_nginx_fails_no_request(
        self,
        serve: Serve,
        token: str,
        database: Database,
        report: Report,
        tmp_path: Path,
        tmp_path_factory: pytest.TempPathFactory,
        workers: int,
    ) -> None:
        async with (
            serve(workers=workers) as service,
            serve(workers=workers, folder=tmp_path_factory.mktemp("other")) as other,
        ):
            with nginx.nginx(tmp_path, service, other) as port:
                load = Load(port, token, per_second=400)
                async with load:
                    await load.runs(500)
                    service.process.terminate()
                    await asyncio.to_thread(service.process.wait, EXIT)
                    await load.runs(1500)

        assert load.errors == {}
        check(load, database)
        report.add(f"SIGTERM behind nginx, `--workers {workers}`", load)

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
    async def test_closes_what_is_idle_and_rejects_what_is_half_sent_or_takes_too_long(
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
                assert await idle.reader.read() == b""
                assert (await half.reader.read()).startswith(b"HTTP/1.1 503 ")
                closed = time.monotonic() - told
                answer = await waiting
                await asyncio.to_thread(service.process.wait, EXIT)
                ended = time.monotonic() - told

        assert closed < limits.SHUTDOWN_NOTICE + TIMEOUT + 2
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert answer.seconds < limits.STATEMENT_TIMEOUT + 2
        assert ended < EXIT
        for client in (idle, half, long):
            client.close()
        report.line(
            "SIGTERM with an endless request, an idle connection, a half-sent body",
            3,
            "2 × 503, 1 × closed",
            note=f"503 after {answer.seconds:.1f} s, closed after {closed:.1f} s, "
            f"exit {ended:.1f} s",
        )
