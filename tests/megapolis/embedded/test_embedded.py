import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import dedent
from typing import IO, Any

import psycopg
import pytest
from django.db import connections

from megapolis import embedded, environment
from megapolis.database.embedded.base import DatabaseClient
from megapolis.embedded import EmbeddedError, EmbeddedServer, programs
from tests.waiting import TIMEOUT

USER = """
    import signal
    import sys
    from pathlib import Path
    from megapolis.embedded import EmbeddedServer

    signal.signal(signal.SIGINT, signal.default_int_handler)
    EmbeddedServer(Path(sys.argv[1]), durable=False).start()
    print("joined", flush=True)
    sys.stdin.read()
"""


def connect(folder: str) -> "psycopg.Connection[tuple[Any, ...]]":
    return psycopg.connect(host=folder, user="postgres", dbname="postgres", autocommit=True)


def is_running(server: EmbeddedServer) -> bool:
    return (server.data / "postmaster.pid").exists()


def temporary() -> "TemporaryDirectory[str]":
    """A folder of the checkout; pytest's own may be closed to the account of the server."""
    parent = environment.BASE_DIR / ".postgres"
    parent.mkdir(exist_ok=True)
    return TemporaryDirectory(dir=parent)


@pytest.fixture
def place() -> Iterator[Path]:
    with temporary() as place:
        yield Path(place)


@pytest.fixture(scope="module")
def running() -> Iterator[EmbeddedServer]:
    """A server that no test changes or stops."""
    with temporary() as place:
        server = EmbeddedServer(Path(place), durable=False)
        server.start()
        yield server
        server.stop()


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Where a server is that does not run. Creating one takes longer than most of the tests."""
    with temporary() as place:
        server = EmbeddedServer(Path(place) / "server", durable=False)
        server.start()
        server.stop()
        yield server.folder


@pytest.fixture
def server(folder: Path) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(folder, durable=False)
    yield server
    server.stop()


@pytest.fixture
def new_server(place: Path) -> Iterator[EmbeddedServer]:
    """One that was never started."""
    server = EmbeddedServer(place / "server", durable=False)
    yield server
    server.stop()


@pytest.fixture
def spawn(folder: Path) -> Iterator[Any]:
    """`spawn(2)` starts two processes at once that use the server; they have joined then."""
    processes: list[subprocess.Popen[str]] = []

    def start(number: int) -> list[subprocess.Popen[str]]:
        started = [
            subprocess.Popen(
                [sys.executable, "-c", dedent(USER), str(folder)],
                cwd=environment.BASE_DIR,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            for _ in range(number)
        ]
        processes.extend(started)
        for process in started:
            assert process.stdout
            assert process.stdout.readline() == "joined\n"
        return started

    yield start
    for process in processes:
        process.kill()
        process.communicate()


class TestStart:
    def test_gives_a_folder_to_connect_to(self, running: EmbeddedServer) -> None:
        with connect(running.start()) as connection:
            row = connection.execute("SHOW server_version").fetchone()
        assert row
        assert row[0].startswith("18.")

    def test_may_be_repeated(self, running: EmbeddedServer) -> None:
        assert running.start() == running.start()

    def test_understands_the_letters_of_every_language(self, running: EmbeddedServer) -> None:
        with connect(running.start()) as connection:
            assert connection.execute("SELECT lower('ÅÑЖ'), upper('ß')").fetchone() == ("åñж", "ß")

    def test_opens_no_port(self, running: EmbeddedServer) -> None:
        with connect(running.start()) as connection:
            assert connection.execute("SHOW listen_addresses").fetchone() == ("",)

    def test_admits_nobody_else_to_its_socket(self, running: EmbeddedServer) -> None:
        assert Path(running.start()).stat().st_mode & 0o077 == 0

    @pytest.mark.parametrize(("durable", "fsync"), [(True, "on"), (False, "off")])
    def test_waits_for_the_disk_only_if_durable(
        self, folder: Path, durable: bool, fsync: str
    ) -> None:
        server = EmbeddedServer(folder, durable=durable)
        try:
            with connect(server.start()) as connection:
                assert connection.execute("SHOW fsync").fetchone() == (fsync,)
        finally:
            server.stop()

    def test_works_where_the_path_is_too_long_for_a_socket(self, place: Path) -> None:
        server = EmbeddedServer(place / ("long" * 30), durable=False)
        socket_folder = server.start()
        try:
            connect(socket_folder).close()
            assert server.data not in Path(socket_folder).parents
        finally:
            server.stop()
        assert not Path(socket_folder).exists()

    def test_works_in_a_folder_with_an_awkward_name(self, place: Path) -> None:
        server = EmbeddedServer(place / 'it\'s, a "place"', durable=False)
        try:
            connect(server.start()).close()
        finally:
            server.stop()

    def test_recovers_from_a_creation_that_was_cut_short(self, new_server: EmbeddedServer) -> None:
        (new_server.folder / "new").mkdir(parents=True)
        (new_server.folder / "new" / "PG_VERSION").write_text("18")
        connect(new_server.start()).close()


class TestStop:
    def test_ends_the_server_and_start_brings_it_back(self, server: EmbeddedServer) -> None:
        folder = server.start()
        with connect(folder) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
        server.stop()
        with pytest.raises(psycopg.OperationalError):
            connect(folder)
        with connect(server.start()) as connection:
            assert connection.execute("SELECT number FROM kept").fetchone() == (7,)

    def test_can_be_a_crash_that_loses_nothing(self, folder: Path) -> None:
        server = EmbeddedServer(folder, durable=True)
        try:
            with connect(server.start()) as connection:
                connection.execute("CREATE TABLE survivor AS SELECT 7 AS number")
            server.stop("immediate")
            with connect(server.start()) as connection:
                assert connection.execute("SELECT number FROM survivor").fetchone() == (7,)
        finally:
            server.stop()


class TestSharing:
    def test_the_last_process_to_leave_stops_the_server(
        self, spawn: Any, server: EmbeddedServer
    ) -> None:
        first, second = spawn(2)
        first.communicate()
        assert is_running(server)
        second.communicate()
        assert not is_running(server)

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_a_signal_is_a_way_to_leave(
        self, spawn: Any, server: EmbeddedServer, number: signal.Signals
    ) -> None:
        (process,) = spawn(1)
        process.send_signal(number)
        process.wait(TIMEOUT)
        assert not is_running(server)

    def test_a_killed_process_does_not_count_as_a_user(
        self, spawn: Any, server: EmbeddedServer
    ) -> None:
        killed, other = spawn(2)
        killed.kill()
        killed.wait()
        other.communicate()
        assert not is_running(server)

    def test_what_a_killed_process_left_running_is_joined(
        self, spawn: Any, server: EmbeddedServer
    ) -> None:
        (killed,) = spawn(1)
        killed.kill()
        killed.wait()
        assert is_running(server)
        connect(server.start()).close()
        server.leave()
        assert not is_running(server)

    def test_a_forked_child_leaves_the_server_alone(self, server: EmbeddedServer) -> None:
        folder = server.start()
        process, server._process = server._process, os.getppid()
        server.leave()
        server._process = process
        connect(folder).close()


class TestErrors:
    def test_names_the_missing_package(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(programs, "find_spec", lambda name: None)
        with pytest.raises(EmbeddedError, match="set DATABASE_URL, or install"):
            EmbeddedServer(place / "server").start()

    def test_names_the_log_of_a_server_that_does_not_start(
        self, new_server: EmbeddedServer
    ) -> None:
        new_server.start()
        new_server.stop()
        (new_server.data / "PG_VERSION").write_text("9")
        with pytest.raises(EmbeddedError, match=r"did not start; its log is .*server\.log"):
            new_server.start()
        assert "9" in new_server.log.read_text()

    def test_names_the_folder_that_cannot_be_written(self, place: Path) -> None:
        (place / "file").touch()
        with pytest.raises(EmbeddedError, match="cannot be used: Not a directory"):
            EmbeddedServer(place / "file" / "server").start()


class TestSocketFolder:
    """In /tmp, where anybody may have made something under its name before."""

    @pytest.fixture
    def far(self, place: Path) -> Iterator[EmbeddedServer]:
        """A server whose path is too long for a socket."""
        server = EmbeddedServer(place / ("long" * 30), durable=False)
        yield server
        with suppress(FileNotFoundError, NotADirectoryError):
            server.socket_folder.rmdir()
        server.socket_folder.unlink(missing_ok=True)

    @pytest.fixture
    def nothing_runs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(self: EmbeddedServer, command: str, *arguments: str) -> int:
            pytest.fail(f"{command} was run")

        monkeypatch.setattr(EmbeddedServer, "_run", fail)

    @pytest.mark.usefixtures("nothing_runs")
    @pytest.mark.parametrize("kind", ["link", "link to nothing", "file", "pipe"])
    def test_that_is_none_is_refused_before_anything_connects(
        self, kind: str, far: EmbeddedServer, place: Path
    ) -> None:
        (place / "trap").mkdir()
        if kind.startswith("link"):
            far.socket_folder.symlink_to(place / ("trap" if kind == "link" else "nothing"))
        elif kind == "file":
            far.socket_folder.touch()
        else:
            os.mkfifo(far.socket_folder)
        with pytest.raises(EmbeddedError, match=f"{far.socket_folder} belongs to somebody else"):
            far.start()
        assert (place / "trap").stat().st_mode & 0o077
        assert far._membership is None

    @pytest.mark.usefixtures("nothing_runs")
    @pytest.mark.parametrize("mode", [0o700, 0o777])
    def test_of_another_account_is_refused_before_anything_connects(
        self, mode: int, far: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        far.socket_folder.mkdir()
        far.socket_folder.chmod(mode)
        somebody_else = os.geteuid() + 1
        monkeypatch.setattr(os, "geteuid", lambda: somebody_else)
        with pytest.raises(EmbeddedError, match=f"{far.socket_folder} belongs to somebody else"):
            far.start()
        assert far.socket_folder.stat().st_mode & 0o777 == mode

    def test_of_ones_own_is_closed_to_others(self, far: EmbeddedServer) -> None:
        far.socket_folder.mkdir()
        far.socket_folder.chmod(0o777)
        try:
            connect(far.start()).close()
            assert far.socket_folder.stat().st_mode & 0o777 == 0o700
        finally:
            far.stop()

    def test_is_looked_at_by_whoever_joins(
        self, far: EmbeddedServer, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        far.start()
        try:
            monkeypatch.setattr(EmbeddedServer, "_user_id", -1)
            monkeypatch.setattr(os, "geteuid", lambda: 2**31)
            with pytest.raises(EmbeddedError, match="belongs to somebody else"):
                EmbeddedServer(far.folder, durable=False).start()
        finally:
            monkeypatch.undo()
            far.stop()


class TestPeer:
    def test_is_asked_for_its_account(self, running: EmbeddedServer) -> None:
        options: dict[str, Any] = {
            "host": running.start(),
            "user": "postgres",
            "dbname": "postgres",
        }
        psycopg.connect(**options, requirepeer=running.account_name).close()
        with pytest.raises(psycopg.OperationalError, match="requirepeer specifies"):
            psycopg.connect(**options, requirepeer="somebody-else")

    def test_is_asked_for_its_account_by_every_connection(self, db: None) -> None:
        from megapolis.database.connection import connection_parameters

        owner = embedded.default.data.owner()
        assert connection_parameters()["requirepeer"] == owner
        settings = {**connections["default"].settings_dict}
        _, env = DatabaseClient.settings_to_cmd_args_env(settings, [])
        assert env
        assert env["PGREQUIREPEER"] == owner

    def test_is_not_asked_where_its_account_has_no_name(
        self, running: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(EmbeddedServer, "_user_id", 2**31 - 2)
        assert running.account_name == ""


class TestModule:
    def test_keeps_tests_and_development_apart(self) -> None:
        assert embedded.default.folder == environment.BASE_DIR / ".postgres" / "test"

    def test_starts_nothing_when_django_is_set_up(self) -> None:
        script = "import django; django.setup(); from megapolis import embedded as e; "
        script += "print(e.default._membership)"
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=environment.BASE_DIR,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == "None\n"


def test_a_starter_waits_for_one_that_stops(server: EmbeddedServer, folder: Path) -> None:
    """The lock that both take is exclusive, so neither sees the other half-way."""
    server.start()

    def is_free(lock: IO[str]) -> bool:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    with server._alone(), (folder / "lock").open() as lock:
        assert not is_free(lock)
    with (folder / "lock").open() as lock:
        assert is_free(lock)
