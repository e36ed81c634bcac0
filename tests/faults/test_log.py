"""A log that cannot be written is no reason not to answer."""

import os
import resource
from pathlib import Path

import pytest

from tests.faults.conftest import Report, Serve
from tests.faults.load import Client
from tests.waiting import eventually, eventually_equals


class TestFullDisk:
    async def test_of_the_log_is_not_noticed_and_logging_resumes(
        self, serve: Serve, token: str, tmp_path: Path, report: Report
    ) -> None:
        log = tmp_path / "megapolis.log"
        async with serve({"LOG_DIR": str(tmp_path)}, workers=1) as service:
            async with Client(service.port, token) as client:
                unlimited = resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE)
                # From now on each write to a file fails, as on a full disk.
                resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (1, unlimited[1]))
                size = log.stat().st_size
                statuses = [await client.status("/widgets/") for _ in range(20)]
                assert log.stat().st_size == size
                resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, unlimited)
                statuses += [await client.status("/widgets/") for _ in range(20)]

            assert statuses == [200] * 40
            await eventually(lambda: log.read_text()[size:].count("GET /widgets/ 200") >= 20)
            report.line("log disk full, then not", 40, "0", note="logging resumes")


@pytest.mark.faults
class TestClosedStandardError:
    async def test_is_not_noticed(self, serve: Serve, token: str, report: Report) -> None:
        reader, writer = os.pipe()
        async with serve(workers=1, stderr=writer, wait=False) as service:
            os.close(writer)
            async with Client(service.port, token) as client:
                await eventually_equals(lambda: client.status("/readyz"), 200)
                os.close(reader)
                statuses = [await client.status("/widgets/") for _ in range(20)]

        assert statuses == [200] * 20
        report.line("standard error closed", 20, "0")
