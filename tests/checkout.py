"""A copy of this checkout, for tests that change files, run `make` or serve.

It has a database, an `.env` and a port of its own. The packages are those of this process.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread

from megapolis.environment import BASE_DIR
from tests.ports import free_port
from tests.processes import STARTED

LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv*", ".env", ".postgres", ".keys", ".static", "logs", "node_modules", ".data",
    ".hypothesis", ".*_cache", ".artefacts", ".coverage*", "results",
)  # fmt: skip
TIMEOUT = 60
"""Seconds for what takes one or two on a machine at rest."""


class Checkout:
    """The copy in `folder`, which is made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(BASE_DIR, folder, ignore=LEFT_OUT)
        venv = folder / ".venv"
        venv.mkdir()
        for name in ("bin", "lib", "pyvenv.cfg"):
            (venv / name).symlink_to(Path(sys.prefix) / name)
        (venv / "installed").touch()
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What a developer's shell has, and nothing of this project's."""
        path = f"{self.folder / '.venv' / 'bin'}:{os.environ['PATH']}"
        return {"HOME": os.environ.get("HOME", "/"), "PATH": path, "PORT": str(self.port)}

    def run(self, script: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        """Run a shell script, which ends at the first command that fails."""
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env=self.environment | variables,
            capture_output=True,
            text=True,
            check=False,
        )

    def succeed(self, script: str, **variables: str) -> str:
        """Run a shell script that must not fail, and return what it says."""
        done = self.run(script, **variables)
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @contextmanager
    def with_database(self) -> Iterator[None]:
        """Keep the database of development running, so that no command has to start and stop it."""
        script = (
            "from megapolis import embedded; embedded.start(); print('up', flush=True); input()"
        )
        with subprocess.Popen(
            [self.folder / ".venv" / "bin" / "python", "-c", script],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            assert process.stdin
            assert process.stdout
            assert process.stdout.readline()
            yield
            process.communicate("\n", timeout=TIMEOUT)

    @contextmanager
    def serving(self, command: str = "make run") -> Iterator[list[str]]:
        """Serve until the block ends; yields the lines of the log so far."""
        lines: list[str] = []
        started = Event()
        with subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            reader = Thread(target=_read, args=(process, lines, started))
            reader.start()
            try:
                assert started.wait(TIMEOUT), "".join(lines)
                assert process.poll() is None, "".join(lines)
                yield lines
            finally:
                _interrupt(process)
                reader.join()


@contextmanager
def copied() -> Iterator[Checkout]:
    """Yield a copy that is removed afterwards.

    It is not in pytest's own folder, which every other run of pytest closes to all accounts but
    its own: when root runs the tests, the embedded PostgreSQL runs under another.
    """
    with TemporaryDirectory(prefix="megapolis-") as folder:
        yield Checkout(Path(folder) / "checkout")


def _read(process: "subprocess.Popen[str]", lines: list[str], started: Event) -> None:
    assert process.stdout
    for line in process.stdout:
        lines.append(line)
        if STARTED in line:
            started.set()
    started.set()


def _interrupt(process: "subprocess.Popen[str]") -> None:
    """Press Ctrl-C, which reaches every process of the command."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(TIMEOUT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
