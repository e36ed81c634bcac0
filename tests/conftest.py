"""What every test gets. ENVIRONMENT is `test` whatever the shell or a `.env` says.

Tests drive the HTTP contract of the ASGI application in this process, against a database of their
own on the embedded PostgreSQL. Whatever a test writes is committed, as in production, and removed
when it ends.
"""

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import cache
from io import StringIO
from typing import Any

import django
import httpx
import pytest
from django.core.management import call_command
from django.db import connections
from hypothesis import HealthCheck, settings

from megapolis.features import FEATURES

os.environ["ENVIRONMENT"] = "test"
os.environ["DJANGO_SETTINGS_MODULE"] = "megapolis.settings"

BASE_URL = "http://127.0.0.1"
MOST_PROCESSES = 4
"""Each has a database and up to ten connections; beyond four, the longest test decides."""

END_OTHERS = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""

type MakeUser = Callable[..., Awaitable[Any]]
type MakeToken = Callable[..., Awaitable[str]]
type MakeClient = Callable[..., Awaitable[httpx.AsyncClient]]
type RunCommand = Callable[..., Awaitable[str]]

django.setup()

# How fast a machine is has nothing to do with what is true.
settings.register_profile(
    "unhurried", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("unhurried")

pytest_plugins = [f"tests.{feature}.factories" for feature in FEATURES if feature != "accounts"]


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """A process per core, or only this one for tests that are named: others take time to start."""
    if config.args_source != pytest.Config.ArgsSource.TESTPATHS:
        return 0
    return min(os.cpu_count() or 1, MOST_PROCESSES)


def pytest_report_header(config: pytest.Config) -> str:
    """What a newcomer would like to know while it runs."""
    from megapolis import environment

    server = "that DATABASE_URL names" if environment.DATABASE_URL else "in .postgres/test"
    return (
        f"against PostgreSQL {server}, without the network; a dot is a test that passed, "
        "an s one that says below what it would need"
    )


def pytest_collection_finish(session: pytest.Session) -> None:
    """What is there before the first test stays to the end: no `gc.collect()` need look at it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def django_db_setup(
    django_test_environment: None, django_db_modify_db_settings: None, django_db_blocker: Any
) -> Iterator[None]:
    """A database of this run's own. pytest-django's makes none where no test has `db` itself."""
    from django.test.utils import setup_databases, teardown_databases

    with django_db_blocker.unblock():
        databases = setup_databases(verbosity=0, interactive=False)
    yield
    with django_db_blocker.unblock():
        with connections["default"].cursor() as cursor:
            cursor.execute(END_OTHERS)  # A backend takes a moment to notice that it is alone.
        teardown_databases(databases, verbosity=0)


@pytest.fixture(scope="session")
async def pool(django_db_setup: None, django_db_blocker: Any) -> AsyncIterator[None]:
    """The connection pool, on this run's own database."""
    from megapolis import database

    async with database.connected():
        await fill_pool()
        yield


@pytest.fixture
async def db(pool: None) -> AsyncIterator[None]:
    """An empty database."""
    from megapolis import database

    yield
    await database.fetch(_delete_everything(), [], reads=False)
    await fill_pool()


async def fill_pool() -> None:
    """Leave no connection half made: the loop stands still while a test runs that is not async."""
    from megapolis.database import execute

    if execute._pool:
        await execute._pool.filled()


@cache
def _delete_everything() -> bytes:
    """One statement, at whose end the foreign keys are checked. A TRUNCATE takes 40 ms, this 1."""
    from django.apps import apps

    written_by_migrations = {"django_content_type", "auth_permission"}
    tables = {model._meta.db_table for model in apps.get_models(include_auto_created=True)}
    deletes = [f'DELETE FROM "{table}"' for table in sorted(tables - written_by_migrations)]
    steps = ", ".join(f"step{number} AS ({delete})" for number, delete in enumerate(deletes))
    return f"WITH {steps} SELECT".encode()


@pytest.fixture
def application() -> Any:
    """The ASGI application with its two doors."""
    from megapolis.asgi import application

    return application


@pytest.fixture
async def make_client(application: Any) -> AsyncIterator[MakeClient]:
    """`await make_client(user)` returns a client that is signed in as the user, or as nobody."""
    from tests import factories

    clients: list[httpx.AsyncClient] = []

    async def make(user: factories.UserRow | None = None, **options: Any) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(application, raise_app_exceptions=False)
        client = httpx.AsyncClient(transport=transport, base_url=BASE_URL, **options)
        if user:
            client.headers["Authorization"] = f"Bearer {await factories.make_token(user)}"
        clients.append(client)
        return client

    yield make
    for client in clients:
        await client.aclose()


@pytest.fixture
def make_user(db: None) -> MakeUser:
    """`await make_user(is_staff=True)` inserts a user; every column can be given."""
    from tests import factories

    return factories.make_user


@pytest.fixture
def make_token(db: None) -> MakeToken:
    """`await make_token(user)` returns a token of the user."""
    from tests import factories

    return factories.make_token


@pytest.fixture
async def user(db: None) -> Any:
    """A user."""
    from tests import factories

    return await factories.make_user()


@pytest.fixture
async def client(make_client: MakeClient, user: Any) -> httpx.AsyncClient:
    """A client that is signed in as `user`."""
    return await make_client(user)


@pytest.fixture
async def staff_client(make_client: MakeClient, db: None) -> httpx.AsyncClient:
    """A client that is signed in as a member of staff who may do everything."""
    from tests import factories

    return await make_client(await factories.make_user(is_staff=True, is_superuser=True))


@pytest.fixture
async def anonymous(make_client: MakeClient, db: None) -> httpx.AsyncClient:
    """A client without credentials."""
    return await make_client()


@pytest.fixture
def run_command(db: None, django_db_blocker: Any) -> RunCommand:
    """`await run_command("token", "ada@example.com")` returns what the command printed."""

    def call(*arguments: str) -> str:
        printed = StringIO()
        with django_db_blocker.unblock():
            try:
                call_command(*arguments, stdout=printed)
            finally:
                connections.close_all()
        return printed.getvalue()

    async def run(*arguments: str) -> str:
        return await asyncio.to_thread(call, *arguments)

    return run


@pytest.fixture(scope="module")
def module_log() -> Iterator[list[str]]:
    """What is logged in a module. To listen anew for each test would take longer than most."""
    from megapolis.logger import logger

    lines: list[str] = []
    sink = logger.add(lines.append, level="TRACE", format="{level} {message}\n{exception}")
    yield lines
    logger.remove(sink)


@pytest.fixture
def log(module_log: list[str]) -> list[str]:
    """Every line that is logged meanwhile, as it would be written."""
    module_log.clear()
    return module_log
