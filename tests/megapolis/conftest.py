"""What the tests of the project's own machinery get besides."""

import asyncio
import gc
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import uvicorn

from tests.conftest import fill_pool

type OpenPool = Callable[..., Any]
type Connect = Callable[[], Any]

ALLOWED = "https://app.example.com"
"""The origin that `cors_handler` allows."""


@pytest.fixture
def handler(settings: Any) -> Any:
    """The API handler, with ordinary Django views behind it."""
    from megapolis.http.api_handler import ApiHandler

    settings.ROOT_URLCONF = "tests.megapolis.stock_urls"
    return ApiHandler()


@pytest.fixture
def cors_handler(settings: Any) -> Any:
    """The API handler of a service that allows one origin."""
    from megapolis.http.api_handler import ApiHandler

    settings.ROOT_URLCONF = "tests.megapolis.stock_urls"
    settings.CORS_ALLOWED_ORIGINS = [ALLOWED]
    first, *others = settings.API_MIDDLEWARE
    settings.API_MIDDLEWARE = [first, "corsheaders.middleware.CorsMiddleware", *others]
    return ApiHandler()


@pytest.fixture
def orm(db: None, django_db_blocker: Any) -> Iterator[None]:
    """Views may use the ordinary ORM, each thread with a connection of its own."""
    with django_db_blocker.unblock():
        yield


@pytest.fixture
async def observer(db: None) -> AsyncIterator["psycopg.AsyncConnection[Any]"]:
    """A connection to the database of the tests that belongs to no pool."""
    from megapolis.database import connection as factory

    parameters = factory.connection_parameters() | {"prepare_threshold": None}
    connection = await psycopg.AsyncConnection.connect(**parameters)
    async with connection:
        yield connection


@pytest.fixture
async def connection(pool: None) -> AsyncIterator[Any]:
    """A connection of ours that belongs to no pool."""
    from tests.megapolis.database import connections

    connection = await connections.connect()
    yield connection
    connection.disconnect()


@pytest.fixture
async def nothing_unhandled(pool: None) -> AsyncIterator[None]:
    """No callback fails, and no exception of a task or future is left lying about."""
    told: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context))
    yield
    gc.collect()
    await asyncio.sleep(0)
    loop.set_exception_handler(None)
    assert told == []


@pytest.fixture
async def open_pool(db: None) -> AsyncIterator[OpenPool]:
    """`await open_pool(size=1)` puts a pool in place whose connections are named "own pool".

    It has all of them unless `full=False`; further parameters are those of the connection.
    """
    from megapolis import database, environment
    from megapolis.database import connection, execute

    ordinary = connection.connection_parameters
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(execute, "_pool", None)
        monkeypatch.setattr(execute, "_aside", None)

        async def open_own(*, size: int = 2, full: bool = True, **parameters: Any) -> Any:
            monkeypatch.setattr(environment, "DATABASE_POOL_SIZE", size)
            monkeypatch.setattr(
                connection,
                "connection_parameters",
                lambda: ordinary() | {"application_name": "own pool"} | parameters,
            )
            await database.open_pool()
            if full:
                await fill_pool()
            return execute._pool

        yield open_own
        await database.close_pool()


@pytest.fixture
def started_threads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The name of each thread that is started meanwhile."""
    names: list[str] = []
    start = threading.Thread.start

    def record(thread: threading.Thread) -> None:
        names.append(thread.name)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", record)
    return names


@pytest.fixture
def logging_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Otherwise the next test would write its access lines to this one's file."""
    from megapolis.logger import configure_logging

    yield
    monkeypatch.undo()
    configure_logging()


@pytest.fixture
def log_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Log files are written here, as in production."""
    from megapolis import environment
    from megapolis.logger import configure_logging

    monkeypatch.setattr(environment, "LOG_DIR", tmp_path)
    configure_logging()
    return tmp_path


def events(log_folder: Path) -> list[dict[str, Any]]:
    """Return what the log file holds."""
    lines = (log_folder / "megapolis.log").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture
async def samples(observer: "psycopg.AsyncConnection[Any]") -> AsyncIterator[None]:
    """The table of `tests.megapolis.database.sample_model`, empty."""
    from tests.megapolis.database.sample_model import CREATE_TABLE

    await observer.execute(CREATE_TABLE)
    yield
    await observer.execute(b"DROP TABLE samples")


@pytest.fixture
async def server(handler: Any, db: None) -> AsyncIterator[uvicorn.Server]:
    """The door, served as `manage.py run` does."""
    from megapolis.http.load_shedding import LoadShedder
    from tests.megapolis.server.raw_client import served

    handler.admission = LoadShedder(300, name="of a test")
    async with served(handler) as server:
        yield server


@pytest.fixture
async def connect(server: Any) -> AsyncIterator[Connect]:
    """`await connect()` returns a new connection."""
    from tests.megapolis.server.raw_client import Client

    writers = []

    async def make() -> Any:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writers.append(writer)
        return Client(reader, writer)

    yield make
    for writer in writers:
        writer.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients have little time for what they send, and for what they read."""
    from megapolis.environment import limits

    monkeypatch.setattr(limits, "RECEIVE_TIMEOUT", 0.3)
    monkeypatch.setattr(limits, "SEND_TIMEOUT", 0.3)
