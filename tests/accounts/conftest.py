"""A Supabase project beside the service, and a look at what reaches the database."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.conftest import MakeClient
from tests.fakes import FakeSupabase

type Exchange = Callable[[str], Awaitable[httpx.Response]]

USERS = "SELECT supabase_id::text, email FROM accounts_user ORDER BY id"
SESSIONS = "SELECT supabase_session_id::text FROM accounts_apisession ORDER BY id"


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """The client that asks the project."""
    from accounts.supabase.auth_client import http_client

    async with http_client() as http:
        yield http


@pytest.fixture
def project() -> Iterator[FakeSupabase]:
    """A Supabase project of the test's own."""
    with FakeSupabase() as project:
        yield project


@pytest.fixture
def clock() -> Any:
    """The time of the verifier and of its project."""
    from tests.accounts.verifiers import Clock

    return Clock()


@pytest.fixture
def fake(clock: Any) -> Iterator[FakeSupabase]:
    """A Supabase project whose time is the clock's."""
    with FakeSupabase(clock=clock) as fake:
        yield fake


@pytest.fixture
async def make_verifier(fake: FakeSupabase, clock: Any) -> AsyncIterator[Any]:
    """`make_verifier(api_key=...)` returns a verifier of the fake project."""
    from accounts.supabase import SupabaseVerifier
    from accounts.supabase.auth_client import http_client

    verifiers: list[SupabaseVerifier] = []

    def make(**options: Any) -> SupabaseVerifier:
        facts: dict[str, Any] = {
            "url": fake.url,
            "http": http_client(),
            "clock": clock,
            "monotonic": clock,
        }
        verifiers.append(SupabaseVerifier(**(facts | options)))
        return verifiers[-1]

    yield make
    for verifier in verifiers:
        await verifier.aclose()


@pytest.fixture
def verifier(make_verifier: Any) -> Any:
    """A verifier of the fake project, without a secret and an API key."""
    return make_verifier()


@pytest.fixture
async def verifying(project: FakeSupabase, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """The service belongs to the project, and has no limit on exchanges."""
    from accounts import supabase
    from accounts.api import exchange_throttle
    from megapolis import environment

    monkeypatch.setattr(environment, "SUPABASE_URL", project.url)
    monkeypatch.setattr(environment, "SUPABASE_SERVICE_ROLE_KEY", project.secret_key)
    monkeypatch.setattr(exchange_throttle, "per_minute", 0)
    async with supabase.verifying():
        yield


@pytest.fixture
async def exchange(verifying: None, anonymous: httpx.AsyncClient) -> Exchange:
    """`await exchange(token)` posts the token to the service."""

    async def post(token: str) -> httpx.Response:
        return await anonymous.post("/auth/token", json={"access_token": token})

    return post


@pytest.fixture
async def sign_in(exchange: Exchange, make_client: MakeClient) -> Any:
    """`await sign_in(token)` exchanges the token and returns a client that has ours."""

    async def client(token: str) -> httpx.AsyncClient:
        response = await exchange(token)
        assert response.status_code == 200, response.text
        ours = response.json()["access_token"]
        return await make_client(headers={"Authorization": f"Bearer {ours}"})

    return client


@pytest.fixture(scope="module")
async def module_db(pool: None) -> AsyncIterator[None]:
    """A database that the tests of one module share, for tables of hundreds of rows."""
    yield
    for table in ("accounts_apisession", "accounts_user"):
        await rows(f"DELETE FROM {table}")


@pytest.fixture
def queries(pool: None, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The SQL of each statement that is sent to PostgreSQL meanwhile."""
    from megapolis.database.wire import Connection

    sent: list[bytes] = []
    fetch = Connection.fetch

    async def record(connection: Any, sql: bytes, *arguments: Any, **options: Any) -> Any:
        sent.append(sql)
        return await fetch(connection, sql, *arguments, **options)

    monkeypatch.setattr(Connection, "fetch", record)
    return sent


def traces(token: str, *places: object) -> list[str]:
    """Return the parts of a token that are found in any of the places."""
    text = "\n".join(map(str, places))
    return [part for part in token.split(".") if len(part) >= 8 and part in text]


async def rows(sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
    """Return the rows of a query with `$n` placeholders."""
    from megapolis import database

    return await database.fetch(sql.encode(), arguments, reads=True)


async def table_rows() -> list[list[tuple[Any, ...]]]:
    """Return all that the service knows of users and sessions."""
    return [
        await rows(f"SELECT * FROM {table} ORDER BY id")
        for table in ("accounts_user", "accounts_apisession")
    ]


def same_session() -> dict[str, Any]:
    """Claims of one user in one session."""
    return {"sub": str(uuid4()), "session_id": str(uuid4())}
