"""A log file that the worker processes share.

Several processes cannot rotate Loguru's own file together, and its lines may mix if they are long.
Here each line is one `write`, and each process looks once a second whether the file was rotated.
"""

import asyncio
import os
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import RLock
from typing import Final

LOOK_EVERY: Final = 1.0
"""Seconds for which lines may still be written to a rotated file. They are not lost."""
MODE: Final = 0o640
"""Lines have emails, addresses and what clients send. Log collectors may read as the group."""
FOLDER_MODE: Final = 0o750


class LogFile:
    """A sink for Loguru. A file of `max_bytes` is renamed after the time; `kept` such files stay.

    Raises OSError if it cannot be opened, and from `write` if the disk is full.
    """

    def __init__(self, path: Path, *, max_bytes: int, kept: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._kept = kept
        self._lock = RLock()  # The garbage collector may log something during a write.
        self._waiting: list[bytes] = []
        self._open()

    def write(self, line: str) -> None:
        """Append the line in one piece, so that lines of several processes do not mix."""
        self._append(line.encode(errors="backslashreplace"))

    def write_soon(self, line: bytes) -> None:
        """Append the line at the end of this turn of the event loop, with the others of this turn.

        Only for the thread of the loop. Lines that cannot be written go to stderr. If the process
        is killed, the lines of its last turn are lost.
        """
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._write_waiting)
        self._waiting.append(line)

    def stop(self) -> None:
        """Close the file. Loguru calls this when it removes the sink."""
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
        self._look_at = time.monotonic() + LOOK_EVERY

    def _look(self) -> None:
        """Rotate the file if it is too large, and open the new one whichever process rotated it."""
        self._look_at = time.monotonic() + LOOK_EVERY
        mine, former = os.fstat(self._file), self._file
        with suppress(FileNotFoundError):
            if os.path.samestat(mine, self._path.stat()):
                if mine.st_size <= self._max_bytes:
                    return
                self._rotate()
        self._open()
        os.close(former)

    def _rotate(self) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S-%f")
        self._path.rename(self._path.with_suffix(f".{now}{self._path.suffix}"))
        rotated = sorted(self._path.parent.glob(f"{self._path.stem}.*{self._path.suffix}"))
        for old in rotated[: -self._kept]:
            old.unlink(missing_ok=True)
