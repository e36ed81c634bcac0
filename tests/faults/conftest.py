"""What the fault suite stands on, and the table that it prints.

`make faults` runs all of it; `make test` runs what is not marked `faults`.
"""

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from megapolis import environment
from tests.faults.load import CUT, REFUSED, Client, Load
from tests.faults.service import Database, Service, configuration, make_token, running
from tests.processes import manage
from tests.waiting import eventually, eventually_equals

NAMES = {CUT: "cut", REFUSED: "refused"}
NEVER = re.compile(r"Task exception was never retrieved|Exception in ASGI|Traceback|RuntimeWarning")

Row = tuple[str, int, str, str]
rows: list[Row] = []


class Report:
    """Takes the rows of the table."""

    def add(self, fault: str, load: Load, *, recovery: float | None = None, note: str = "") -> None:
        """Add what a load has seen of a fault, and the seconds until the next success after it."""
        self.line(fault, len(load.answers), described(load), recovery=recovery, note=note)

    def line(
        self,
        fault: str,
        requests: int,
        errors: str,
        *,
        recovery: float | None = None,
        note: str = "",
    ) -> None:
        """Add a row."""
        told = "–" if recovery is None else f"{recovery:.2f} s"
        rows.append((fault, requests, errors, f"{told}{', ' * bool(note)}{note}"))


def described(load: Load) -> str:
    counted = sorted(load.errors.items())
    return ", ".join(f"{number} × {NAMES.get(status, status)}" for status, number in counted) or "0"


@pytest.fixture(scope="session")
def report() -> Report:
    return Report()


@pytest.fixture(scope="session")
def given(database: Database) -> dict[str, str]:
    """The environment of the service."""
    return configuration(database.url)


@pytest.fixture(scope="session")
def database() -> Iterator[Database]:
    """A PostgreSQL that is stopped, frozen and filled, with the tables in it."""
    folder = environment.BASE_DIR / ".postgres"
    folder.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix="faults-") as name:
        database = Database(Path(name))
        try:
            done = manage("migrate", given=configuration(database.url), timeout=60)
            assert done.returncode == 0, done.stderr
            yield database
        finally:
            database.server.start()
            database.server.stop("immediate")


@pytest.fixture(scope="session")
def token(given: dict[str, str]) -> str:
    return make_token(given)


@pytest.fixture(scope="session")
def shared_service(
    given: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """The service, for faults that it survives."""
    with running(given, tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.fixture
async def service(
    shared_service: Service, database: Database, token: str
) -> AsyncIterator[Service]:
    """The service as it should be before a fault, and checked to be so again after it."""
    position = len(shared_service.log)
    async with Client(shared_service.port, token) as client:
        assert (await client.ask("GET", "/widgets/")).status == 200
        yield shared_service
        await eventually_equals(lambda: client.status("/widgets/"), 200)
    await eventually(lambda: database.backends("idle in transaction%") == 0)
    await eventually(lambda: database.backends("active") == 0)
    assert not NEVER.search(shared_service.log[position:]), shared_service.log[position:]


@pytest.fixture
def load(service: Service, token: str, database: Database) -> Iterator[Load]:
    """Clients, none of whose acknowledged widgets may be lost, and no answer of which a 500."""
    load = Load(service.port, token)
    yield load
    check(load, database)


def check(load: Load, database: Database) -> None:
    """Nothing acknowledged is lost, and every error is one that says "come again"."""
    assert load.answers
    stored = {name for (name,) in database.execute("SELECT name FROM widgets_widget")}
    assert load.acknowledged <= stored
    assert set(load.errors) <= {CUT, REFUSED, 503}
    for answer in load.answers:
        assert answer.status != 503 or answer.headers["retry-after"] == "1"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-faults", action="store_true", help="write docs/faults.md")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if not rows:
        return
    head = "| fault | requests | errors seen | recovery |\n| --- | ---: | --- | --- |"
    table = "\n".join([head, *(f"| {' | '.join(map(str, row))} |" for row in rows)])
    terminalreporter.write_line(f"\n{table}\n")
    page = environment.BASE_DIR / "docs" / "faults.md"
    if config.getoption("write_faults"):
        introduction = page.read_text().partition("| fault |")[0]
        page.write_text(f"{introduction}{table}\n")
