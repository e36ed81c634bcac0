"""A gigabyte, sent by a client that does not care for the answer."""

import asyncio
import stat
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from megapolis.server.closing_protocol import LINGER
from tests.faults.conftest import Report
from tests.faults.load import Client
from tests.faults.service import Service

GIGABYTE = 1024**3
CHUNK = 0x10000
LENGTH = f"Content-Length: {GIGABYTE}"
BODIES = {
    "with its length": [LENGTH],
    "after Expect: 100-continue": [LENGTH, "Expect: 100-continue"],
    "in chunks": ["Transfer-Encoding: chunked"],
}


class Watch:
    """What the workers hold and write while a block runs, looked at again and again."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.pids = service.workers()
        self.before = self.megabytes = service.megabytes()
        self.files = self.open_files()
        self.written = self.bytes_written()
        self.looks = 0

    def look(self) -> None:
        self.looks += 1
        self.megabytes = max(self.megabytes, self.service.megabytes())
        self.files |= self.open_files()

    def open_files(self) -> set[str]:
        """The regular files that they have open, deleted ones too."""
        found = set()
        for path in (path for pid in self.pids for path in Path(f"/proc/{pid}/fd").iterdir()):
            with suppress(FileNotFoundError):
                if stat.S_ISREG(path.stat().st_mode):
                    found.add(str(path.readlink()))
        return found

    def bytes_written(self) -> int:
        """How much they have had written to a disk."""
        texts = [Path(f"/proc/{pid}/io").read_text() for pid in self.pids]
        return sum(int(text.partition("\nwrite_bytes: ")[2].split()[0]) for text in texts)


@asynccontextmanager
async def watched(service: Service) -> AsyncIterator[Watch]:
    """Look every 20 ms, and find that nothing has come of the body when it is over."""
    watch = Watch(service)
    files = set(watch.files)
    is_over = asyncio.Event()

    async def look() -> None:
        while not is_over.is_set():
            watch.look()
            await asyncio.sleep(0.02)

    task = asyncio.create_task(look())
    yield watch
    is_over.set()
    await task
    assert watch.looks > 10
    assert watch.files == files
    assert watch.bytes_written() - watch.written < 1_000_000
    assert list(service.temporary_folder.iterdir()) == []
    assert watch.megabytes - watch.before < 32


class TestGigabyte:
    @pytest.mark.parametrize("headers", BODIES.values(), ids=BODIES)
    async def test_is_refused_early_with_nothing_kept_however_much_of_it_is_sent(
        self, service: Service, token: str, report: Report, headers: list[str]
    ) -> None:
        is_chunked = "chunked" in headers[0]
        part = b"%x\r\n%s\r\n" % (CHUNK, b" " * CHUNK) if is_chunked else b" " * CHUNK
        async with watched(service) as watch, Client(service.port, token) as client:
            await client.connect()
            assert client.reader
            assert client.writer
            started = time.monotonic()
            client.writer.write(client.head("POST", "/widgets/", *headers))
            answer = asyncio.create_task(client.reader.readline())
            if "Expect: 100-continue" in headers:
                await answer
            early = sent = 0
            with suppress(ConnectionError):
                while sent < GIGABYTE:
                    client.writer.write(part)
                    await client.writer.drain()
                    await asyncio.sleep(0)  # drain() alone lets nobody else run while all is sent
                    sent += CHUNK
                    early = early if answer.done() else sent
            took = time.monotonic() - started

        assert (await answer).startswith(b"HTTP/1.1 413 ")
        assert early < GIGABYTE / 16
        assert took < LINGER + 3
        report.line(
            f"1 GB body, {' '.join(headers[-1:])}",
            1,
            "1 × 413",
            note=f"after {early >> 20} MiB, cut after {sent >> 20} MiB, "
            f"{watch.megabytes - watch.before} MB more memory",
        )
