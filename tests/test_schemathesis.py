"""Schemathesis, with all of its checks in all of its phases, against the service as it runs."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from megapolis import embedded, environment

BIN = Path(sys.executable).parent
MAX_EXAMPLES = 20
SECONDS = 300


def settings_of_the_service() -> dict[str, str]:
    """The environment in which another process shares this one's database and secrets."""
    from django.db import connection

    database = connection.settings_dict["NAME"]
    url = f"postgresql://postgres@/{database}?host={embedded.start()}"
    return {
        **os.environ,
        "ENVIRONMENT": "test",
        "DATABASE_URL": environment.DATABASE_URL or url,
        "SECRET_KEY": environment.SECRET_KEY,
        "JWT_SECRET_KEY": environment.JWT_SECRET_KEY,
        "EXCHANGE_LIMIT_PER_MINUTE": "0",
        "ACCESS_LOG": "false",
        "PYTHONPATH": str(environment.BASE_DIR),
    }


@pytest.fixture
def service(db: None) -> Iterator[str]:
    """The address of the service, which runs in a process of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    process = subprocess.Popen(
        [sys.executable, "manage.py", "run", "--port", port],
        cwd=environment.BASE_DIR,
        env=settings_of_the_service(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    with process.stderr as log, ThreadPoolExecutor(1) as reader:
        started = next((line for line in log if "Uvicorn running" in line), None)
        assert started, "the service did not start"
        rest = reader.submit(log.read)
        yield f"http://127.0.0.1:{port}"
        process.terminate()
        process.wait(SECONDS)
        assert "Traceback" not in rest.result()


def test_schemathesis_finds_nothing(service: str, tmp_path: Path) -> None:
    run = subprocess.run(
        [
            BIN / "schemathesis",
            "--no-color",
            "run",
            f"{service}/openapi.json",
            "--checks=all",
            "--phases=examples,coverage,fuzzing,stateful",
            f"--max-examples={MAX_EXAMPLES}",
            "--generation-deterministic",
            "--continue-on-failure",
        ],
        cwd=tmp_path,
        env={**settings_of_the_service(), "SCHEMATHESIS_HOOKS": "tests.schemathesis_hooks"},
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )

    assert run.returncode == 0, run.stdout + run.stderr
