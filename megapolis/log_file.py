"""A log file that the worker processes share.

Loguru's own file asks the operating system at every line whether another process has rotated it,
and how large it is, which is a fifth of the line's cost. Here that is asked once a second.
"""

import asyncio
import os
import stat
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import RLock
from typing import Final

LOOK_EVERY: Final = 1.0
"""Seconds for which a line may still land in a file that was rotated: it is not lost there."""
MODE: Final = 0o640
"""Lines hold emails, addresses and what clients send. The group is for what collects logs."""
FOLDER_MODE: Final = 0o750


class LogFile:
    """A sink for Loguru. A file of `max_bytes` gets its time into its name, `kept` of them stay.

    Raises OSError where it cannot be opened, and from `write` where the disk is full.
    """

    def __init__(self, path: Path, *, max_bytes: int, kept: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._kept = kept
        self._lock = RLock()  # What the garbage collector finds meanwhile may have to be logged.
        self._waiting: list[bytes] = []
        self._open()
        for rotated in self._rotated():
            _narrow(rotated)

    def write(self, line: str) -> None:
        """Append it in one piece, so that the lines of several processes do not mix."""
        self._append(line.encode(errors="backslashreplace"))

    def write_soon(self, line: bytes) -> None:
        """Append it at the end of this turn of the event loop, with the others that come in it.

        Only for the thread of the loop. What cannot be written goes to stderr. A process that is
        killed takes the lines of its last turn with it, some of whose answers may have left.
        """
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._write_waiting)
        self._waiting.append(line)

    def stop(self) -> None:
        """Close it; Loguru does that with a sink that it no longer needs."""
        self._write_waiting()
        os.close(self._file)

    def _write_waiting(self) -> None:
        if not self._waiting:
            return  # They were written when the file was closed.
        lines, self._waiting = b"".join(self._waiting), []
        try:
            self._append(lines)
        except OSError:
            with suppress(OSError):  # then there is nowhere left
                sys.stderr.write(lines.decode())

    def _append(self, data: bytes) -> None:
        with self._lock:
            if time.monotonic() >= self._look_at:
                with suppress(OSError):  # A file that cannot be rotated is written on.
                    self._look()
            while data:
                data = data[os.write(self._file, data) :]

    def _open(self) -> None:
        self._path.parent.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, MODE)
        _narrow(self._path)
        self._look_at = time.monotonic() + LOOK_EVERY

    def _look(self) -> None:
        self._look_at = time.monotonic() + LOOK_EVERY
        try:
            there = self._path.stat()
        except FileNotFoundError:
            self._reopen()
            return
        if not os.path.samestat(there, os.fstat(self._file)):
            self._reopen()
        elif there.st_size > self._max_bytes:
            self._rotate()

    def _reopen(self) -> None:
        former = self._file
        self._open()
        os.close(former)

    def _rotate(self) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S-%f")
        with suppress(FileNotFoundError):  # another process was faster
            self._path.rename(self._path.with_suffix(f".{now}{self._path.suffix}"))
        self._reopen()
        for old in self._rotated()[: -self._kept]:
            old.unlink(missing_ok=True)

    def _rotated(self) -> list[Path]:
        """Return the rotated files, the oldest first."""
        return sorted(self._path.parent.glob(f"{self._path.stem}.*{self._path.suffix}"))


def _narrow(path: Path) -> None:
    """Take the permissions from a file that go beyond MODE, if it is ours."""
    with suppress(OSError):
        mode = path.stat().st_mode
        if stat.S_ISREG(mode) and stat.S_IMODE(mode) & ~MODE:
            path.chmod(stat.S_IMODE(mode) & MODE)
