"""The parent's decisions, with workers that are no processes; `tests/faults` has real ones."""

import signal
import socket
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from megapolis.environment import limits
from megapolis.server import supervisor
from megapolis.server.acceptor import NO_WORKER, Balance
from megapolis.server.supervisor import Supervisor, received_signals


class Process:
    """What `multiprocessing` knows of a worker."""

    def __init__(self, pid: int) -> None:
        self.pid = self.sentinel = pid
        self.exitcode: int | None = None

    def is_alive(self) -> bool:
        return self.exitcode is None

    def kill(self) -> None:
        self.exitcode = -signal.SIGKILL

    def join(self) -> None:
        assert self.exitcode is not None


class Beats:
    def close(self) -> None:
        pass


class Worker(supervisor.Worker):
    """A worker that does what the test says."""

    def __init__(self, config: object, listener: object, balance: Balance) -> None:
        self.process: Any = Process(balance.place)
        self.beats: Any = Beats()
        self.balance = balance
        self.heard_at = time.monotonic()
        self.has_started = self.is_old = False
        self.stop_by = None
        self.signals: list[int] = []

    def hear(self) -> None:
        pass

    def stop(self, number: int) -> None:
        self.stop_by = time.monotonic() + 20
        self.signals.append(number)

    def end(self, code: int) -> None:
        self.process.exitcode = code


class Service(Supervisor):
    """The parent of such workers, one step at a time."""

    def __init__(self, number: int) -> None:
        super().__init__(None, None, number)  # type: ignore[arg-type]
        self.inbox, self.outbox = socket.socketpair()
        self.inbox.settimeout(0)

    @property
    def workers(self) -> list[Any]:
        return self._workers

    def step(self, *numbers: int) -> None:
        self.outbox.send(bytes(numbers or [0]))
        self.inbox.recv(64) if not numbers else None
        self._wait(self.inbox, 0)
        self._adjust()

    def start(self) -> "Service":
        self._adjust()
        for worker in self.workers:
            worker.has_started = True
        return self


@pytest.fixture(autouse=True)
def processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "Worker", Worker)
    monkeypatch.setattr("multiprocessing.connection.wait", lambda *_: [])


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service(3)
    with service.inbox, service.outbox:
        yield service


class TestDeath:
    @pytest.mark.parametrize("code", [-signal.SIGKILL, -signal.SIGTERM, 0, 1, 3])
    def test_of_a_worker_that_served_is_made_good_immediately(
        self, service: Service, code: int
    ) -> None:
        first, *others = service.start().workers
        first.end(code)
        service.step()

        *kept, new = service.workers
        assert kept == others
        assert new.balance.place == first.balance.place

    def test_takes_the_worker_out_of_the_balance(self, service: Service) -> None:
        first, *_ = service.start().workers
        service._counts[first.balance.place] = 7
        first.end(1)
        service.step()

        assert service._counts[first.balance.place] == NO_WORKER

    @pytest.mark.parametrize("code", [-signal.SIGKILL, 1, 3])
    def test_at_the_start_is_followed_by_a_longer_pause_each_time(
        self, service: Service, monkeypatch: pytest.MonkeyPatch, code: int
    ) -> None:
        now = 0.0
        monkeypatch.setattr(supervisor, "time", SimpleNamespace(monotonic=lambda: now))
        service.start().workers[0].end(1)
        service.step()
        pauses = []
        for _ in range(7):
            service.workers[2].end(code)
            service.step()
            failed = now
            while len(service.workers) == 2:
                now += 0.5
                for worker in service.workers:
                    worker.heard_at = now
                service.step()
            pauses.append(now - failed)

        assert pauses == [2, 4, 8, 16, 30, 30, 30]

    def test_of_all_at_the_start_ends_the_service(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Worker, "hear", lambda worker: worker.end(1))
        service = Service(3)
        with service.inbox, service.outbox:
            monkeypatch.setattr(service, "_stop_all", lambda _: None)
            assert not service.run()

    def test_of_all_that_served_does_not(self, service: Service) -> None:
        old = list(service.start().workers)
        for worker in old:
            worker.end(-signal.SIGKILL)
        service.step()

        assert len(service.workers) == 3
        assert not set(old) & set(service.workers)


class TestHang:
    def test_of_a_worker_ends_with_its_death(self, service: Service) -> None:
        first, *others = service.start().workers
        first.heard_at -= limits.WORKER_TIMEOUT + 1
        service.step()
        service.step()

        assert first.process.exitcode == -signal.SIGKILL
        assert service.workers[:2] == others
        assert len(service.workers) == 3

    def test_at_the_start_is_no_reason_to_end_it_while_no_other_serves(
        self, service: Service
    ) -> None:
        service._adjust()
        for worker in service.workers:
            worker.heard_at -= limits.WORKER_TIMEOUT + 1
        service.step()
        assert all(worker.process.is_alive() for worker in service.workers)

        service.workers[0].has_started = True
        service.workers[0].heard_at = time.monotonic()
        service.step()
        assert [worker.process.is_alive() for worker in service.workers] == [True, False, False]

    def test_of_a_worker_that_should_stop_ends_with_its_death(self, service: Service) -> None:
        first, *_ = service.start().workers
        first.stop_by = time.monotonic() - 1
        service.step()

        assert not first.process.is_alive()


class TestRestart:
    def test_replaces_one_worker_at_a_time(self, service: Service) -> None:
        old = list(service.start().workers)
        service.step(signal.SIGHUP)
        for number in range(3):
            assert len(service.workers) == 4
            new = service.workers[-1]
            service.step()
            assert not any(worker.signals for worker in old[number:])
            new.has_started = True
            service.step()
            assert old[number].signals == [signal.SIGUSR1]
            service.step()
            assert len(service.workers) == 4
            old[number].end(-signal.SIGUSR1)
            service.step()

        assert len(service.workers) == 3
        assert not set(old) & set(service.workers)

    def test_ends_with_the_first_new_worker_that_cannot_start(self, service: Service) -> None:
        old = list(service.start().workers)
        service.step(signal.SIGHUP)
        service.workers[-1].end(1)
        for _ in range(3):
            service.step()

        assert service.workers == old
        assert not any(worker.signals for worker in old)


class TestNumber:
    def test_is_raised_by_ttin_and_lowered_by_ttou(self, service: Service) -> None:
        before = list(service.start().workers)
        service.step(signal.SIGTTIN)
        *kept, added = service.workers
        assert kept == before
        added.has_started = True

        service.step(signal.SIGTTOU)
        assert added.signals == [signal.SIGUSR1]
        added.end(0)
        service.step()
        assert service.workers == before

    def test_is_at_least_one(self, service: Service) -> None:
        service.start()
        service.step(*[signal.SIGTTOU] * 5)

        assert service._number == 1

    def test_has_a_maximum(self, service: Service) -> None:
        for _ in range(10):
            service.step(*[signal.SIGTTIN] * 60)

        assert len(service.workers) < len(service._counts)


def test_signals_are_received_in_order() -> None:
    with received_signals() as signals:
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGTERM)
        assert signals.recv(10) == bytes([signal.SIGHUP, signal.SIGTERM])
