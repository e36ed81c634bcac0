"""The service as in production: a parent and two workers, on a PostgreSQL of its own."""

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

from megapolis import environment
from megapolis.embedded import EmbeddedServer
from tests.ports import free_port
from tests.processes import STARTED, manage, variables
from tests.waiting import until

WORKERS = 2


class Database:
    """The PostgreSQL, which a test may stop, freeze and fill."""

    def __init__(self, folder: Path) -> None:
        self.server = EmbeddedServer(folder)
        self.server.start()

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/postgres?host={quote(self.server.start(), safe='')}"

    def connect(self) -> "psycopg.Connection[Any]":
        """Return a connection of the test's own."""
        return psycopg.connect(self.url, autocommit=True, application_name="the test")

    def execute(self, sql: str, *values: object) -> list[Any]:
        """Run one statement, and return its rows."""
        with self.connect() as connection:
            cursor = connection.execute(sql.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def processes(self) -> list[int]:
        """The server's processes, its first one first."""
        first = int((self.server.data / "postmaster.pid").read_text().split()[0])
        return [first, *children(first)]

    def signal(self, number: signal.Signals) -> None:
        """Send it to every process of the server."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def stop(self, how: str) -> None:
        """Stop it `fast`, `immediate`, or by `kill -9`, after which `start()` starts it again."""
        if how != "kill -9":
            self.server._run("pg_ctl", "stop", "-D", "data", "-m", how)
        else:
            first, *others = self.processes()
            os.kill(first, signal.SIGKILL)
            until(lambda: not any(is_running(pid) for pid in [first, *others]))
            # In a container nobody may have buried it, and its successor would take it for alive.
            for lock in ("postmaster.pid", ".s.PGSQL.5432.lock"):
                (self.server.socket_folder / lock).unlink(missing_ok=True)
                (self.server.data / lock).unlink(missing_ok=True)
        self.server._forget()

    def start(self) -> None:
        self.server.start()

    def backends(self, state: str = "%") -> int:
        """How many connections of the service are in this state."""
        [[number]] = self.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' "
            "AND application_name <> 'the test' AND state LIKE %s",
            state,
        )
        return int(number)

    def pids(self) -> set[int]:
        """Return the processes of PostgreSQL that serve the service's connections."""
        rows = self.execute(
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' "
            "AND application_name <> 'the test'"
        )
        return {int(pid) for (pid,) in rows}


class Service:
    """`manage.py run`, running."""

    def __init__(
        self,
        process: "subprocess.Popen[bytes]",
        *,
        port: int,
        log: Path,
        probe: Path,
        number: int = WORKERS,
    ) -> None:
        """`number` is that of its workers; in `probe` they write what is under way in them."""
        self.process = process
        self.port = port
        self.log_file = log
        self.temporary_folder = log.parent / "temporary"
        self.probe = probe
        self.number = number

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def workers(self) -> list[int]:
        """The processes that serve."""
        if self.number == 1:
            return [self.process.pid]
        return [pid for pid in children(self.process.pid) if "spawn_main" in command(pid)]

    def descriptors(self) -> int:
        return sum(map(self.descriptors_of, self.workers()))

    def descriptors_of(self, pid: int) -> int:
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))

    def megabytes(self) -> int:
        """Resident memory of the workers."""
        pages = [Path(f"/proc/{pid}/statm").read_text().split()[1] for pid in self.workers()]
        return sum(map(int, pages)) * os.sysconf("SC_PAGE_SIZE") // 1_000_000


def configuration(*, database_url: str, supabase_url: str, folder: Path) -> dict[str, str]:
    """Return an environment as in production. The log and what the probe sees is in the folder."""
    return {
        "ENVIRONMENT": "production",
        "SECRET_KEY": secrets.token_urlsafe(48),
        "JWT_SECRET_KEY": secrets.token_urlsafe(48),
        "ALLOWED_HOSTS": "127.0.0.1",
        "DATABASE_URL": database_url,
        "SUPABASE_URL": supabase_url,
        "LOG_DIR": str(folder / "logs"),
        "API_DOCS_ENABLED": "true",  # The largest answer, for clients that read slowly.
        "PYTHONPATH": str(Path(__file__).parent / "probe"),
        "PROBE_FOLDER": str(folder),
    }


def make_token(given: dict[str, str], email: str = "load@example.com") -> str:
    done = manage("token", email, given=given)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@contextmanager
def running(
    given: dict[str, str],
    folder: Path,
    *,
    wait: bool = True,
    workers: int = WORKERS,
    stderr: int | None = None,
) -> Iterator[Service]:
    """Run the service until the block ends. Nothing of it is left then, whatever has happened.

    Its log is in a file, or goes where `stderr` leads.
    """
    port = free_port()
    log, temporary = folder / "service.log", folder / "temporary"
    temporary.mkdir(exist_ok=True)
    with (
        log.open("wb") as file,
        subprocess.Popen(
            [sys.executable, "manage.py", "run", "--workers", str(workers), "--port", str(port)],
            cwd=environment.BASE_DIR,
            env=variables(given) | {"TMPDIR": str(temporary)},
            stdout=subprocess.DEVNULL,
            stderr=file if stderr is None else stderr,
        ) as process,
    ):
        service = Service(
            process, port=port, log=log, probe=Path(given["PROBE_FOLDER"]), number=workers
        )
        try:
            if wait:
                until(lambda: service.log.count(STARTED) >= workers, within=60)
            yield service
        finally:
            left = service.workers()
            process.terminate()
            try:
                process.wait(30)
            finally:
                for pid in [process.pid, *left]:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)


def children(parent: int) -> list[int]:
    """The processes that this one has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(path.parent.name))
    return found


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
