"""How a server is started, found ready, weighed and stopped."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from benchmarks.database import CHECKOUT, LOGS, Database
from benchmarks.placement import Cores, children_on
from benchmarks.tokens import AUDIENCE, ISSUER, SECRET

LOG = LOGS / "server.log"
START_LIMIT = 30.0
POOL = 10


class ServerError(Exception):
    """A server did not start."""


@dataclass(frozen=True)
class Server:
    """A program that serves the widgets."""

    name: str
    title: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    folder: Path = CHECKOUT


@dataclass(frozen=True)
class Running:
    """A server that answers."""

    url: str
    process: psutil.Popen
    started_in: float
    """Seconds from the start of the process to its first answer to an authenticated request."""

    def memory(self) -> tuple[float, float]:
        """Return RSS and PSS of the whole process tree, in MiB.

        RSS counts pages that processes share once for each of them; PSS counts them once.
        """
        used = [process.memory_full_info() for process in self._tree()]
        return sum(each.rss for each in used) / 2**20, sum(each.pss for each in used) / 2**20

    def cpu_seconds(self) -> float:
        """Return the processor time that the process tree has used so far."""
        used = [process.cpu_times() for process in self._tree()]
        return sum(each.user + each.system for each in used)

    def _tree(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]


@contextmanager
def serving(
    server: Server, database: Database, *, token: str, pool: int | None, cores: Cores
) -> Iterator[Running]:
    """Run the server within the block, on a free port of 127.0.0.1.

    `pool` is the number of its database connections. None leaves the service its own default, and
    gives the peers POOL.
    """
    port = _free_port()
    environment = {
        "BENCHMARK_DATABASE_HOST": database.host,
        "BENCHMARK_DATABASE_PORT": str(database.port),
        "BENCHMARK_DATABASE_NAME": database.name,
        "BENCHMARK_POOL_SIZE": str(pool or POOL),
        "BENCHMARK_SECRET": SECRET,
        "BENCHMARK_ISSUER": ISSUER,
        "BENCHMARK_AUDIENCE": AUDIENCE,
        "DATABASE_URL": database.url,
        **({"DATABASE_POOL_SIZE": str(pool)} if pool else {}),
        **server.environment,
    }
    started = time.perf_counter()
    with LOG.open("a") as log, children_on(cores):
        process = psutil.Popen(
            [part.format(port=port) for part in server.command],
            cwd=server.folder,
            env={**os.environ, **environment},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for_answer(url, token, process)
        yield Running(url, process, time.perf_counter() - started)
    finally:
        _stop(process)


def _stop(process: psutil.Popen) -> None:
    try:
        process.terminate()
        process.wait(timeout=15)
    except psutil.NoSuchProcess:
        return
    except psutil.TimeoutExpired:
        process.kill()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def wait_for_answer(url: str, token: str, process: psutil.Popen) -> None:
    """Wait until the server answers a request with 200, or raise ServerError."""
    deadline = time.monotonic() + START_LIMIT
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(headers=headers, timeout=START_LIMIT) as client:
        while process.poll() is None and time.monotonic() < deadline:
            try:
                if client.get(f"{url}/widgets/1").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.01)
    raise ServerError(f"The server did not answer {url} with 200; see {LOG}")
