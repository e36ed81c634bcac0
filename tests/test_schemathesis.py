"""Schemathesis, with all of its checks in all of its phases, against the service as it runs.

`make fuzz` runs what takes long.
"""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from megapolis import environment
from tests.processes import Service, database_url, jwt_secret, serving, variables

SCHEMATHESIS = Path(sys.executable).parent / "schemathesis"
SECONDS = 300
SECONDS_TO_FUZZ = 1200
CASES = 1000


class Answer(NamedTuple):
    """An answer that Schemathesis has seen: see `tests/schemathesis_hooks.py`."""

    operation: str
    phase: str | None
    method: str
    path: str
    status: int


@pytest.fixture
def given() -> dict[str, str]:
    """The environment in which a process shares this one's database and secrets."""
    return {
        "ENVIRONMENT": "test",
        "DATABASE_URL": database_url(),
        "SECRET_KEY": environment.SECRET_KEY,
        "JWT_SECRET_KEY": jwt_secret(),
        "EXCHANGE_LIMIT_PER_MINUTE": "0",
        "ACCESS_LOG": "false",
    }


@pytest.fixture
def service(db: None, given: dict[str, str]) -> Iterator[Service]:
    """The service, which runs in a process of its own."""
    with serving(given) as service:
        yield service
    assert not [line for line in service.log if "Traceback" in line]


def attack(
    service: Service, given: dict[str, str], folder: Path, *options: str, seconds: int = SECONDS
) -> list[Answer]:
    """Let Schemathesis find nothing; returns the answers, after it has counted the widgets."""
    before, journal = widgets(), folder / "answers.jsonl"
    own = {
        "PYTHONPATH": str(environment.BASE_DIR),
        "PYTHONWARNINGS": "",
        "SCHEMATHESIS_HOOKS": "tests.schemathesis_hooks",
        "SCHEMATHESIS_JOURNAL": str(journal),
    }
    run = subprocess.run(
        [
            *(SCHEMATHESIS, "--no-color", "run", f"{service.url}/openapi.json"),
            *("--checks=all", "--phases=examples,coverage,fuzzing,stateful"),
            *("--generation-allow-x00=true", "--continue-on-failure", *options),
        ],
        cwd=folder,
        env=variables(given) | own,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    answers = [Answer(*json.loads(line)) for line in journal.read_text().splitlines()]
    assert widgets() - before == created(answers) - deleted(answers)
    return answers


def widgets() -> int:
    """How many rows there are."""
    with psycopg.connect(database_url()) as connection:
        row = connection.execute("SELECT count(*) FROM widgets_widget").fetchone()
    assert row
    return int(row[0])


def created(answers: list[Answer]) -> int:
    return sum((x.method, x.path, x.status) == ("POST", "/widgets/", 201) for x in answers)


def deleted(answers: list[Answer]) -> int:
    return sum(
        (x.method, x.status) == ("DELETE", 204) and x.path.startswith("/widgets/") for x in answers
    )


def test_schemathesis_finds_nothing_and_each_create_and_delete_is_a_row(
    service: Service, given: dict[str, str], tmp_path: Path
) -> None:
    answers = attack(service, given, tmp_path, "--max-examples=20", "--generation-deterministic")

    assert created(answers) >= deleted(answers) > 0


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_schemathesis_finds_nothing_in_a_thousand_cases_of_each_operation(
    service: Service,
    given: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    seed: int,
) -> None:
    started = time.monotonic()
    options = (f"--max-examples={CASES}", f"--seed={seed}", "--generation-database=none")
    answers = attack(service, given, tmp_path, *options, seconds=SECONDS_TO_FUZZ)
    # It tries few of them beside the others, because they end what it has learnt of.
    deletes = (*options, "--phases=fuzzing", "--include-method=DELETE")
    answers += attack(service, given, tmp_path, *deletes, seconds=SECONDS_TO_FUZZ)

    cases = Counter(answer.operation for answer in answers)
    with capsys.disabled():
        sys.stdout.write(f"\nseed {seed}, {time.monotonic() - started:.0f} s: {summary(answers)}\n")
    assert sorted(cases) == operations()
    assert min(cases.values()) >= CASES


def summary(answers: list[Answer]) -> str:
    difference = f"{created(answers):,} creates - {deleted(answers):,} deletes"
    lines = [f"{len(answers):,} answers, {difference} = {widgets():,} rows"]
    for operation in operations():
        phases = Counter(answer.phase for answer in answers if answer.operation == operation)
        told = ", ".join(f"{phase} {number:,}" for phase, number in phases.items())
        lines.append(f"{phases.total():7,}  {operation} ({told})")
    return "\n".join(lines)


def operations() -> list[str]:
    """The operations of the service, as Schemathesis names them."""
    paths = json.loads((environment.BASE_DIR / "docs" / "openapi.json").read_text())["paths"]
    return sorted(f"{method.upper()} {path}" for path in paths for method in paths[path])
