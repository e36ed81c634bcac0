"""What the fault suite stands on.

`make faults` runs all of it; `make test` runs what is not marked `faults`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from megapolis import environment
from tests.faults.invariants import Rest, invariants
from tests.faults.keys import KEYS_PATH, KeyServer
from tests.faults.load import CUT, REFUSED, Client, Load
from tests.faults.report import Report as Report
from tests.faults.report import table
from tests.faults.service import (
    WORKERS,
    Database,
    Service,
    configuration,
    make_token,
    running,
)
from tests.processes import manage

type Serve = Callable[..., AbstractAsyncContextManager[Service]]


@pytest.fixture(scope="session")
def report() -> Report:
    return Report()


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyServer]:
    """Without the keys of the Supabase project, which production must have, nobody is ready."""
    with KeyServer(tmp_path_factory.mktemp("probe")) as keys:
        yield keys


@pytest.fixture(scope="session")
def database() -> Iterator[Database]:
    """A PostgreSQL that is stopped, frozen and filled."""
    folder = environment.BASE_DIR / ".postgres"
    folder.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix="faults-") as name:
        database = Database(Path(name))
        try:
            yield database
        finally:
            database.server.start()
            database.server.stop("immediate")


@pytest.fixture(scope="session")
def given(keys: KeyServer, database: Database) -> dict[str, str]:
    """The environment of the service. The tables are there."""
    given = configuration(database_url=database.url, supabase_url=keys.url, folder=keys.folder)
    done = manage("migrate", given=given, timeout=60)
    assert done.returncode == 0, done.stderr
    return given


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


@pytest.fixture(scope="session")
async def rest(shared_service: Service, keys: KeyServer, token: str) -> Rest:
    """What a worker holds that has worked, and has nothing to do."""
    async with Load(shared_service.port, token) as load:
        await load.runs(400)
    async with asyncio.timeout(20):
        # Each worker fetches the keys when it is asked, and nobody chooses whom he asks.
        while keys.count(KEYS_PATH) < WORKERS:
            await asyncio.gather(*(ready(shared_service) for _ in range(16)))
    return await asyncio.to_thread(Rest.of, shared_service)


@pytest.fixture
async def service(
    shared_service: Service, database: Database, token: str, rest: Rest
) -> AsyncIterator[Service]:
    """The service, which must be as it was when the test is over."""
    async with invariants(shared_service, database, token, rest):
        yield shared_service


@pytest.fixture
def serve(
    given: dict[str, str], tmp_path: Path, database: Database, token: str, rest: Rest
) -> Serve:
    """`async with serve() as service`: one of the test's own, held to the same.

    The arguments are those of `running`.
    """

    @asynccontextmanager
    async def serve(
        changes: dict[str, str] | None = None, *, folder: Path = tmp_path, **options: Any
    ) -> AsyncIterator[Service]:
        with running(given | (changes or {}), folder, **options) as service:
            async with invariants(service, database, token, rest):
                yield service

    return serve


async def ready(service: Service) -> int:
    async with Client(service.port) as client:
        return await client.status("/readyz")


@pytest.fixture
def load(service: Service, token: str, database: Database) -> Iterator[Load]:
    """Clients, none of whose acknowledged widgets may be lost, and no answer of which a 500."""
    load = Load(service.port, token)
    yield load
    check(load, database)


def check(load: Load, database: Database) -> None:
    """Nothing acknowledged is lost, nothing half there, and every error says "come again"."""
    assert load.answers
    rows = database.execute(
        "SELECT name, id, owner_id, created_at = updated_at FROM widgets_widget "
        "WHERE starts_with(name, %s)",
        load.prefix,
    )
    stored = {name: (number, owner) for name, number, owner, _ in rows}
    assert load.acknowledged.items() <= stored.items()
    assert all(owner and is_as_created for _, _, owner, is_as_created in rows)
    assert set(load.errors) <= {CUT, REFUSED, 503}
    for answer in load.answers:
        assert answer.status != 503 or int(answer.headers["retry-after"]) >= 1


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-faults", action="store_true", help="write docs/faults.md")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if not (text := table()):
        return
    terminalreporter.write_line(f"\n{text}\n")
    page = environment.BASE_DIR / "docs" / "faults.md"
    if config.getoption("write_faults"):
        introduction = page.read_text().partition("| fault |")[0]
        page.write_text(f"{introduction}{text}\n")
