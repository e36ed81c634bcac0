"""The log files, and the lines of requests in them."""

import asyncio
import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from threading import Thread

import pytest

import megapolis.logger.configuration as module
from megapolis import environment
from megapolis.logger import configure_logging, log_access, logger, request_id
from megapolis.logger import file as log_file
from megapolis.logger.file import LogFile
from tests.megapolis.conftest import events
from tests.waiting import TIMEOUT

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"

pytestmark = pytest.mark.usefixtures("logging_as_it_was")


class TestFiles:
    def test_hold_one_json_object_per_line(self, log_folder: Path) -> None:
        token = request_id.set("abc-123")
        logger.bind(widget=7).info("created\n{}", "it")
        request_id.reset(token)
        (event,) = events(log_folder)
        assert event.pop("time")
        assert event == {
            "level": "INFO",
            "logger": __name__,
            "message": r"created\nit",
            "request_id": "abc-123",
            "widget": "7",
        }

    def test_hold_tracebacks(self, log_folder: Path) -> None:
        try:
            raise ValueError("wrong")
        except ValueError:
            logger.exception("broken")
        (event,) = events(log_folder)
        assert event["exception"].startswith("Traceback")
        assert event["exception"].endswith("ValueError: wrong\n")

    def test_rotate_and_the_oldest_are_removed(
        self, log_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "FILE_BYTES", 1000)
        monkeypatch.setattr(module, "FILES", 2)
        monkeypatch.setattr(log_file, "LOOK_EVERY", 0.0)
        configure_logging()
        for number in range(100):
            logger.info("line {}", number)
        files = sorted(log_folder.iterdir())
        assert len(files) == 3
        assert all(file.stat().st_size < 1300 for file in files)
        assert events(log_folder)[-1]["message"] == "line 99"

    def test_are_followed_where_another_process_has_rotated_them(
        self, log_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(log_file, "LOOK_EVERY", 0.0)
        configure_logging()
        logger.info("before")
        (log_folder / "megapolis.log").rename(log_folder / "megapolis.1.log")
        logger.info("after")
        (log_folder / "megapolis.log").rename(log_folder / "megapolis.2.log")
        (log_folder / "megapolis.log").touch()
        logger.info("later")

        assert '"after"' in (log_folder / "megapolis.2.log").read_text()
        assert [event["message"] for event in events(log_folder)] == ["later"]

    def test_that_cannot_be_rotated_are_written_on(
        self, log_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> None:
            raise PermissionError

        monkeypatch.setattr(module, "FILE_BYTES", 1)
        monkeypatch.setattr(log_file, "LOOK_EVERY", 0.0)
        monkeypatch.setattr(Path, "rename", refuse)
        configure_logging()
        logger.info("one")
        logger.info("two")

        assert [event["message"] for event in events(log_folder)] == ["one", "two"]

    def test_take_a_line_that_comes_while_another_is_written(
        self, log_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = LogFile(log_folder / "other.log", max_bytes=1_000, kept=1)
        lines = iter(["inner\n"])

        def look() -> None:
            for line in lines:
                file.write(line)

        monkeypatch.setattr(file, "_look_at", 0.0)
        monkeypatch.setattr(file, "_look", look)
        writer = Thread(target=file.write, args=("outer\n",), daemon=True)
        writer.start()
        writer.join(TIMEOUT)

        assert (log_folder / "other.log").read_text() == "inner\nouter\n"
        file.stop()

    def test_are_in_a_folder_that_is_not_for_everybody(self, tmp_path: Path) -> None:
        former = os.umask(0)
        try:
            LogFile(tmp_path / "logs" / "megapolis.log", max_bytes=1, kept=1).stop()
        finally:
            os.umask(former)

        assert (tmp_path / "logs").stat().st_mode & 0o777 == 0o750
        assert (tmp_path / "logs" / "megapolis.log").stat().st_mode & 0o777 == 0o640

    def test_are_not_looked_for_at_every_line(self, log_folder: Path) -> None:
        (log_folder / "megapolis.log").rename(log_folder / "megapolis.1.log")
        logger.info("soon")

        assert '"soon"' in (log_folder / "megapolis.1.log").read_text()

    def test_that_cannot_be_written_are_said_to_be_missing(
        self,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setattr(environment, "LOG_DIR", tmp_path / "file" / "logs")
        configure_logging()
        logger.info("something else")
        warning, line = capsys.readouterr().err.splitlines()
        assert warning == "No log files: LOG_DIR cannot be written (Not a directory)."
        assert line.endswith("something else")

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
    def test_on_a_full_disk_break_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "megapolis.log").symlink_to("/dev/full")
        script = f"""
            import os
            os.environ.update(ENVIRONMENT="test", LOG_DIR={str(tmp_path)!r})
            from megapolis.logger import configure_logging, logger
            configure_logging()
            logger.info("token {TOKEN}")
            logger.info("still here")
        """
        done = subprocess.run(
            [sys.executable, "-c", dedent(script)],
            cwd=environment.BASE_DIR,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "still here" in done.stderr
        assert TOKEN not in done.stderr


class TestAccessLines:
    async def test_are_in_the_files_alone(
        self, log_folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        log_access("GET", "/", 200, 1.25)
        await asyncio.sleep(0)

        assert [event["message"] for event in events(log_folder)] == ["GET / 200 1.2 ms"]
        assert capsys.readouterr().err == ""

    async def test_are_like_the_others(self, log_folder: Path) -> None:
        token = request_id.set("abc-123")
        log_access("GET", f"/{TOKEN}\n\x1b", 404, 1.25)
        await asyncio.sleep(0)
        logger.info("another")
        request_id.reset(token)
        (access, other) = events(log_folder)

        assert access["message"] == r"GET /***\n\x1b 404 1.2 ms"
        assert (access["level"], access["request_id"]) == ("INFO", "abc-123")
        assert access.keys() == other.keys()
        assert access["time"] <= other["time"]

    async def test_keep_their_end_however_long_the_path(self, log_folder: Path) -> None:
        log_access("GET", "/eyJ" * 20_000, 404, 1.25)
        log_access("GET", "/" + "\u202e" * 20_000, 404, 1.25)
        await asyncio.sleep(0)

        for event in events(log_folder):
            assert event["message"].startswith("GET /")
            assert event["message"].endswith("… 404 1.2 ms")

    async def test_of_one_turn_of_the_loop_are_written_at_once(
        self, log_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        written: list[bytes] = []

        monkeypatch.setattr(LogFile, "_append", lambda _, data: written.append(data))
        for path in ("/1", "/2"):
            log_access("GET", path, 200, 1.25)
        assert written == []
        await asyncio.sleep(0)
        log_access("GET", "/3", 200, 1.25)
        await asyncio.sleep(0)

        assert [data.count(b"\n") for data in written] == [2, 1]

    async def test_are_written_before_the_file_is_closed(self, log_folder: Path) -> None:
        log_access("GET", "/", 200, 1.25)
        configure_logging()

        assert [event["message"] for event in events(log_folder)] == ["GET / 200 1.2 ms"]

    async def test_are_left_out_above_their_level(
        self, log_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(environment, "LOG_LEVEL", "WARNING")
        configure_logging()
        log_access("GET", "/", 200, 1.25)
        await asyncio.sleep(0)

        assert (log_folder / "megapolis.log").read_text() == ""

    async def test_are_on_stderr_if_the_disk_is_full(
        self,
        log_folder: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def fail(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(LogFile, "_append", fail)
        log_access("GET", "/", 200, 1.25)
        await asyncio.sleep(0)

        (line,) = capsys.readouterr().err.splitlines()
        assert json.loads(line)["message"] == "GET / 200 1.2 ms"

    def test_are_on_stderr_where_there_are_no_files(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        configure_logging()
        log_access("GET", "/", 200, 1.25)

        (line,) = capsys.readouterr().err.splitlines()
        assert line.endswith("GET / 200 1.2 ms")
