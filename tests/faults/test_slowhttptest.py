"""slowhttptest, which opens connections and dawdles on them, against the service."""

import asyncio
import csv
import re
import shutil
from pathlib import Path

import pytest

from tests.faults.conftest import Report
from tests.faults.load import Answer, Client
from tests.faults.service import Service

PROGRAM = shutil.which("slowhttptest")
CONNECTIONS = 1000
ATTACK = f"-c {CONNECTIONS} -r 200 -l 20 -p 3 -g"
"""Twenty seconds, with the rates of its manual. Its own probe waits three seconds for an answer."""
MODES = {
    "headers": ("/widgets/", "-H -i 5 -x 24"),
    "body": ("/widgets/", "-B -t POST -f application/json -i 5 -s 8192 -x 10"),
    "read": ("/openapi.json", "-X -k 3 -w 512 -y 1024 -n 5 -z 32"),
}


async def probed(
    service: Service, token: str, attack: "asyncio.subprocess.Process"
) -> list[Answer]:
    """Ask for widgets every 100 ms until the attack is over."""
    answers = []
    async with Client(service.port, token) as client:
        while attack.returncode is None:
            answers.append(await client.ask("GET", "/widgets/"))
            await asyncio.sleep(0.1)
    return answers


@pytest.mark.faults
@pytest.mark.skipif(PROGRAM is None, reason="It is not installed (apt-get install slowhttptest).")
class TestSlowHTTPTest:
    @pytest.mark.parametrize("mode", MODES)
    async def test_finds_the_service_available_throughout(
        self, service: Service, token: str, tmp_path: Path, report: Report, mode: str
    ) -> None:
        path, options = MODES[mode]
        url = f"http://127.0.0.1:{service.port}{path}"
        attack = await asyncio.create_subprocess_exec(
            *f"{PROGRAM} {ATTACK} {options} -o {tmp_path}/report -u {url}".split(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert attack.stdout
        output, answers = await asyncio.gather(attack.stdout.read(), probed(service, token, attack))

        plain = re.sub(r"\x1b\[[\d;]*m", "", output.decode())
        said = re.findall(r"service available: +(\w+)", plain)
        assert said
        assert set(said) == {"YES"}, plain
        seconds = list(csv.DictReader((tmp_path / "report.csv").read_text().splitlines()))
        assert all(int(second["Service Available"]) for second in seconds)
        assert max(int(second["Connected"]) for second in seconds) > CONNECTIONS * 0.9
        slowest = max(answer.seconds for answer in answers)
        assert {answer.status for answer in answers} == {200}
        assert slowest < 1
        report.line(
            f"slowhttptest, {mode}, {CONNECTIONS:,} connections",
            len(answers),
            "0",
            note=f"{seconds[-1]['Closed']} cut in {len(seconds)} s, "
            f"slowest answer {slowest * 1000:.0f} ms",
        )
