"""The parent process: starts the workers, replaces those that die or hang, and stops them all."""

import multiprocessing.connection
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Final

import uvicorn

from megapolis.environment import limits
from megapolis.logger import logger
from megapolis.server import shutdown
from megapolis.server.acceptor import NO_WORKER, Balance
from megapolis.server.listener import close_for_all, drop_handshakes, has_waiting
from megapolis.server.uvicorn_server import Server

SIGNALS: Final = (
    *(signal.SIGTERM, signal.SIGINT, signal.SIGHUP),
    *(signal.SIGTTIN, signal.SIGTTOU),
)
SPARE: Final = 64
"""Places for workers beyond the first number, which SIGTTIN and a restart need."""
LATE: Final = 5
"""Seconds beyond its time after which a worker that was told to stop is killed."""
spawn = multiprocessing.get_context("spawn")


class Worker:
    """One process that serves, and what the parent knows of it."""

    def __init__(self, config: uvicorn.Config, listener: socket.socket, balance: Balance) -> None:
        self.beats, beats = spawn.Pipe(duplex=False)
        self.process = spawn.Process(target=work, args=(config, listener, balance, beats))
        self.process.start()
        beats.close()
        self.balance = balance
        self.heard_at = time.monotonic()
        self.has_started = self.is_old = False
        self.stop_by: float | None = None

    def hear(self) -> None:
        """Take note of its beats. The first one says that it serves."""
        with suppress(EOFError, OSError):
            while self.beats.poll():
                self.beats.recv_bytes()
                self.heard_at = time.monotonic()
                self.has_started = True

    def stop(self, number: int) -> None:
        """Send it the signal. It has a limited time to end."""
        self.stop_by = time.monotonic() + shutdown.notice() + limits.SHUTDOWN_TIMEOUT + LATE
        os.kill(self.process.ident or 0, number)

    def hangs(self, *, others_serve: bool) -> bool:
        """Return whether it is silent, or did not stop in time.

        A slow start is no fault while no other worker serves.
        """
        now = time.monotonic()
        is_silent = now > self.heard_at + limits.WORKER_TIMEOUT
        return (is_silent and (self.has_started or others_serve)) or now > (self.stop_by or now)


def work(
    config: uvicorn.Config, listener: socket.socket, balance: Balance, beats: Connection
) -> None:
    """Serve in a process of its own until a signal ends it."""

    def beat() -> None:
        with suppress(OSError):  # the parent is gone, and this worker stops soon
            beats.send_bytes(b"1")

    config.configure_logging()
    with suppress(KeyboardInterrupt):
        Server(config, balance=balance, beat=beat).run([listener])


class Supervisor:
    """Keeps a number of workers running on one listening socket.

    SIGTERM and SIGINT stop all, SIGHUP replaces them one by one, SIGTTIN and SIGTTOU change their
    number. A connection that one worker does not accept is accepted by another.
    """

    def __init__(self, config: uvicorn.Config, listener: socket.socket, number: int) -> None:
        self._config = config
        self._listener = listener
        self._number = number
        self._counts = spawn.RawArray("i", [NO_WORKER] * (number + SPARE))
        self._workers: list[Worker] = []
        self._failed_starts = 0
        self._start_at = 0.0

    def run(self) -> bool:
        """Return when a signal has ended it, or False if no worker could start."""
        logger.info("Started parent process [{}]", os.getpid())
        with received_signals() as signals:
            stop: int | None = None
            while stop is None and (self._workers or not self._failed_starts):
                self._adjust()
                stop = self._wait(signals)
            self._stop_all(signals)
        logger.info("Stopping parent process [{}]", os.getpid())
        return stop is not None

    def _wait(self, signals: socket.socket, seconds: float = 0.5) -> int | None:
        """Wait until something happens, and note it. Return a signal that ends the service."""
        beats = [worker.beats for worker in self._workers]
        sentinels = [worker.process.sentinel for worker in self._workers]
        multiprocessing.connection.wait([signals, *beats, *sentinels], seconds)
        others_serve = any(worker.has_started for worker in self._workers)
        for worker in list(self._workers):
            worker.hear()
            if not worker.process.is_alive():
                self._remove(worker)
            elif worker.hangs(others_serve=others_serve):
                logger.error("Worker [{}] hangs and is killed", worker.process.pid)
                worker.process.kill()
        with suppress(BlockingIOError):
            for number in signals.recv(64):
                if number in {signal.SIGTERM, signal.SIGINT}:
                    return number
                self._handle(number)
        return None

    def _handle(self, number: int) -> None:
        logger.info("Received {}", signal.Signals(number).name)
        if number == signal.SIGHUP:
            for worker in self._workers:
                worker.is_old = True
        elif number == signal.SIGTTIN:
            self._number = min(self._number + 1, len(self._counts) - SPARE // 2)
        elif number == signal.SIGTTOU:
            self._number = max(self._number - 1, 1)

    def _adjust(self) -> None:
        """Start a worker that is missing, or stop one that is too many. The old ones go first."""
        serving = [worker for worker in self._workers if worker.stop_by is None]
        old = [worker for worker in serving if worker.is_old]
        if sum(worker.has_started for worker in serving) > self._number:
            (old or serving[::-1])[0].stop(signal.SIGUSR1)
            return
        while len(self._workers) < self._number + bool(old) and time.monotonic() >= self._start_at:
            self._start()

    def _start(self) -> None:
        taken = {worker.balance.place for worker in self._workers}
        place = next(place for place in range(len(self._counts)) if place not in taken)
        balance = Balance(self._counts, place)
        self._workers.append(Worker(self._config, self._listener, balance))

    def _remove(self, worker: Worker) -> None:
        """Forget a worker that has ended. After one that failed to start, wait ever longer."""
        worker.process.join()
        worker.beats.close()
        self._counts[worker.balance.place] = NO_WORKER
        self._workers.remove(worker)
        if worker.has_started:
            self._failed_starts = 0
        if worker.stop_by is not None:
            return
        logger.error("Worker [{}] ended with {}", worker.process.pid, worker.process.exitcode)
        if not worker.has_started:
            self._failed_starts += 1
            self._start_at = time.monotonic() + min(2**self._failed_starts, 30)
            for other in self._workers:
                other.is_old = False  # keep them: a restart would leave fewer

    def _stop_all(self, signals: socket.socket) -> None:
        """Stop the workers, and close the socket when nothing waits in its queue."""
        for worker in self._workers:
            worker.stop(signal.SIGTERM)
        self._wait_for(signals, shutdown.notice())
        drop_handshakes(self._listener)
        self._wait_for(signals, shutdown.GRACE * 2)
        end = time.monotonic() + LATE
        while has_waiting(self._listener) and time.monotonic() < end:
            self._wait_for(signals, 0.1)
        close_for_all(self._listener)
        self._wait_for(signals, float("inf"))

    def _wait_for(self, signals: socket.socket, seconds: float) -> None:
        """Wait so long, or until no worker is left, or until a signal says to hurry."""
        end = time.monotonic() + seconds
        while self._workers and time.monotonic() < end:
            number = self._wait(signals, min(end - time.monotonic(), 0.5))
            if number is not None:
                for worker in self._workers:
                    worker.stop(number)
                return


@contextmanager
def received_signals() -> Iterator[socket.socket]:
    """Within the block, the numbers of received signals can be read from the socket."""
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.settimeout(0)
        writer.settimeout(0)
        before = {number: signal.signal(number, lambda *_: None) for number in SIGNALS}
        signal.set_wakeup_fd(writer.fileno())
        try:
            yield reader
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)
