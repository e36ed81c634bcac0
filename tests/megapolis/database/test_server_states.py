"""A PostgreSQL that is there and cannot do what it is asked, as the API sees it.

Each state is made for real, on a server of the module's own.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import psycopg
import pytest
from django.core.management import call_command
from django.db import connections

from megapolis import database, embedded, environment
from megapolis.database import outages
from megapolis.embedded import EmbeddedServer
from megapolis.http import health
from tests import factories
from tests.waiting import eventually, eventually_equals

ROLE = "service"
NAME = "states"
READY = "/readyz"

OWN_TABLES = f"""
    DO $$ DECLARE name text; BEGIN
        FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
            EXECUTE format('ALTER TABLE %I OWNER TO {ROLE}', name);
        END LOOP;
    END $$
"""

_numbers = count()


@pytest.fixture(scope="module")
def server(django_db_setup: None, django_db_blocker: Any) -> Iterator[EmbeddedServer]:
    """A server with a migrated database whose tables belong to a role without privileges."""
    folder = environment.BASE_DIR / ".postgres"
    with TemporaryDirectory(dir=folder, prefix="states-") as name:
        server = EmbeddedServer(Path(name), durable=False)
        try:
            with superuser(server) as admin:
                admin.execute(f"CREATE ROLE {ROLE} LOGIN".encode())
                admin.execute(f"CREATE DATABASE {NAME} OWNER {ROLE}".encode())
            with pytest.MonkeyPatch.context() as monkeypatch, django_db_blocker.unblock():
                use(server, monkeypatch)
                with ThreadPoolExecutor(1) as thread:
                    thread.submit(migrate).result()
            with superuser(server, NAME) as admin:
                admin.execute(OWN_TABLES.encode())
            yield server
        finally:
            server.stop("immediate")


def migrate() -> None:
    try:
        call_command("migrate", verbosity=0)
    finally:
        connections.close_all()


def use(server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "default", server)
    monkeypatch.setitem(connections.settings["default"], "NAME", NAME)


def superuser(server: EmbeddedServer, name: str = "postgres") -> "psycopg.Connection[Any]":
    """Return a connection that may write whatever the server's settings say."""
    connection = psycopg.connect(host=server.start(), dbname=name, user="postgres", autocommit=True)
    connection.execute("SET default_transaction_read_only = off")
    return connection


class Service:
    """The API with a user who is signed in, and the superuser who breaks the database."""

    def __init__(self, client: httpx.AsyncClient, admin: "psycopg.Connection[Any]") -> None:
        self.client = client
        self.admin = admin

    def execute(self, *statements: str) -> None:
        for statement in statements:
            self.admin.execute(statement.encode())

    def terminate(self) -> None:
        """End every connection of the service, and wait until they are gone."""
        self.admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'service'"
        )

    async def write(self) -> httpx.Response:
        return await self.client.post("/widgets/", json={"name": f"widget {next(_numbers)}"})

    async def read(self) -> httpx.Response:
        return await self.client.get("/widgets/")

    async def transact(self) -> httpx.Response:
        """Write in a transaction, and respond as a view does."""
        from megapolis.errors.exception_handler import exception_response

        try:
            async with database.transaction():
                await factories.make_user()
        except Exception as exc:  # noqa: BLE001 - whatever it is
            return httpx.Response(exception_response(exc).status_code)
        return httpx.Response(201)

    async def ready(self) -> int:
        return (await self.client.get(READY)).status_code


@pytest.fixture
async def service(
    open_pool: Any, server: EmbeddedServer, application: Any, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Service]:
    use(server, monkeypatch)
    monkeypatch.setattr(health, "readiness", health.Readiness())
    outages._last_seen.clear()
    outages.end()
    with superuser(server) as admin:
        await open_pool(size=3, user=ROLE, dbname=NAME)
        token = await factories.make_token(await factories.make_user())
        transport = httpx.ASGITransport(application, raise_app_exceptions=False)
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1", headers=headers
        ) as client:
            yield Service(client, admin)


def check_outage(response: httpx.Response) -> None:
    assert response.status_code == 503, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert int(response.headers["retry-after"]) >= 1
    assert response.json()["detail"].startswith(("The database ", "The data "))


def check_log(log: list[str], code: str) -> None:
    """One line names the state, and no traceback is there."""
    assert len([line for line in log if f"PostgreSQL reports {code}" in line]) == 1
    assert "Traceback" not in "".join(log)


READ_ONLY = {
    "database": (
        f"ALTER DATABASE {NAME} SET default_transaction_read_only = on",
        f"ALTER DATABASE {NAME} RESET default_transaction_read_only",
    ),
    "role": (
        f"ALTER ROLE {ROLE} SET default_transaction_read_only = on",
        f"ALTER ROLE {ROLE} RESET default_transaction_read_only",
    ),
    "role in database": (
        f"ALTER ROLE {ROLE} IN DATABASE {NAME} SET default_transaction_read_only = on",
        f"ALTER ROLE {ROLE} IN DATABASE {NAME} RESET default_transaction_read_only",
    ),
}


class TestReadOnly:
    @pytest.mark.parametrize("where", READ_ONLY)
    async def test_session_is_told_as_503_and_not_used_for_the_first_write_after_it(
        self, service: Service, log: list[str], where: str
    ) -> None:
        begin, end = READ_ONLY[where]
        service.execute(begin)
        try:
            service.terminate()
            await asyncio.gather(*(service.read() for _ in range(6)))
            log.clear()
            for _ in range(5):
                check_outage(await service.write())
                assert (await service.transact()).status_code == 503
                assert (await service.read()).status_code == 200
                assert await service.ready() == 503
            check_log(log, "25006")
            # Every connection of the pool is read-only now.
            await asyncio.gather(*(service.read() for _ in range(6)))
        finally:
            service.execute(end)

        assert (await service.write()).status_code == 201
        assert await service.ready() == 200

    @pytest.mark.parametrize("first", [Service.transact, Service.write, Service.ready])
    async def test_session_is_replaced_whatever_comes_first_after_it(
        self, service: Service, first: Callable[[Service], Awaitable[Any]]
    ) -> None:
        begin, end = READ_ONLY["database"]
        service.execute(begin)
        try:
            service.terminate()
            await asyncio.gather(*(service.read() for _ in range(6)))
        finally:
            service.execute(end)

        response = await first(service)
        assert getattr(response, "status_code", response) in {200, 201}
        writes = await asyncio.gather(*(service.write() for _ in range(6)))
        assert {response.status_code for response in writes} == {201}

    async def test_setting_of_the_running_server_is_noticed_and_so_is_its_end(
        self, service: Service, log: list[str]
    ) -> None:
        def settled(value: str) -> None:
            service.execute("SELECT pg_reload_conf()")
            # A new session has it when the postmaster has read it.
            while True:
                with psycopg.connect(
                    host=embedded.default.start(), dbname=NAME, user=ROLE
                ) as connection:
                    shown = connection.execute("SHOW default_transaction_read_only").fetchone()
                if shown == (value,):
                    return

        service.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        try:
            settled("on")
            log.clear()
            await eventually_equals(service.ready, 503)
            check_outage(await service.write())
            assert (await service.read()).status_code == 200
            check_log(log, "25006")
        finally:
            service.execute("ALTER SYSTEM RESET default_transaction_read_only")
            settled("off")

        assert (await service.write()).status_code == 201
        assert (await service.transact()).status_code == 201
        assert await service.ready() == 200


CLOSED = {
    "a role that may not log in": (f"ALTER ROLE {ROLE} NOLOGIN", f"ALTER ROLE {ROLE} LOGIN"),
    "a role that was renamed": (f"ALTER ROLE {ROLE} RENAME TO x", f"ALTER ROLE x RENAME TO {ROLE}"),
    "a database that was renamed": (
        f"ALTER DATABASE {NAME} RENAME TO x",
        f"ALTER DATABASE x RENAME TO {NAME}",
    ),
    "a database that allows no connections": (
        f"ALTER DATABASE {NAME} ALLOW_CONNECTIONS false",
        f"ALTER DATABASE {NAME} ALLOW_CONNECTIONS true",
    ),
    "a database that is full": (
        f"ALTER DATABASE {NAME} CONNECTION LIMIT 0",
        f"ALTER DATABASE {NAME} CONNECTION LIMIT -1",
    ),
    "a role that has its connections": (
        f"ALTER ROLE {ROLE} CONNECTION LIMIT 0",
        f"ALTER ROLE {ROLE} CONNECTION LIMIT -1",
    ),
    "a role that may not connect": (
        f"REVOKE CONNECT ON DATABASE {NAME} FROM PUBLIC, {ROLE}",
        f"GRANT CONNECT ON DATABASE {NAME} TO PUBLIC, {ROLE}",
    ),
}


class TestConnecting:
    @pytest.mark.parametrize("why", CLOSED)
    async def test_that_is_rejected_is_told_as_503_and_over_with_the_first_request_after_it(
        self, service: Service, log: list[str], why: str
    ) -> None:
        begin, end = CLOSED[why]
        service.terminate()
        service.execute(begin)
        try:
            service.terminate()
            log.clear()
            for _ in range(3):
                check_outage(await service.write())
                check_outage(await service.read())
                assert (await service.transact()).status_code == 503
                assert await service.ready() == 503
            assert len([line for line in log if "PostgreSQL is away" in line]) == 1
            assert "Traceback" not in "".join(log)
        finally:
            service.execute(end)

        assert (await service.write()).status_code == 201
        assert await service.ready() == 200


RAISED = ["08006", "25006", "28000", "3D000", "53100", "53200", "54000", "55000", "57P03", "58030"]
RAISE = """
    CREATE OR REPLACE FUNCTION raise_state() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        RAISE EXCEPTION 'a reason' USING ERRCODE = '{code}';
    END $$
"""
TRIGGER = """
    CREATE TRIGGER raise_state BEFORE INSERT ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION raise_state()
"""


class TestStatement:
    @pytest.mark.parametrize("code", RAISED)
    async def test_that_meets_a_state_is_a_503_until_it_is_over(
        self, service: Service, server: EmbeddedServer, log: list[str], code: str
    ) -> None:
        with superuser(server, NAME) as owner:
            owner.execute(RAISE.format(code=code).encode())
            for table in ("widgets_widget", "accounts_user"):
                owner.execute(TRIGGER.format(table=table).encode())
            log.clear()
            try:
                for _ in range(3):
                    check_outage(await service.write())
                    assert (await service.transact()).status_code == 503
                    assert (await service.read()).status_code == 200
                if code.startswith(("53", "58")):
                    assert await service.ready() == 503
                check_log(log, code)
            finally:
                owner.execute("DROP FUNCTION raise_state CASCADE")

        assert (await service.write()).status_code == 201
        assert await service.ready() == 200

    async def test_that_may_not_wait_for_a_lock_is_a_503(
        self, service: Service, server: EmbeddedServer, log: list[str]
    ) -> None:
        service.execute(f"ALTER ROLE {ROLE} SET lock_timeout = '20ms'")
        service.terminate()
        try:
            with superuser(server, NAME) as other, other.transaction():
                other.execute("LOCK TABLE widgets_widget IN SHARE MODE")
                blocked = await service.write()
                assert await service.ready() == 200
        finally:
            service.execute(f"ALTER ROLE {ROLE} RESET lock_timeout")

        check_outage(blocked)
        assert blocked.json()["detail"] == "The data is locked by another change"
        check_log(log, "55P03")
        assert (await service.write()).status_code == 201

    async def test_without_its_table_is_a_503_until_the_table_is_back(
        self, service: Service, server: EmbeddedServer, log: list[str]
    ) -> None:
        with superuser(server, NAME) as owner:
            owner.execute("ALTER TABLE widgets_widget RENAME TO gone")
            log.clear()
            try:
                check_outage(await service.write())
                check_outage(await service.read())
                assert await service.ready() == 503
            finally:
                owner.execute("ALTER TABLE gone RENAME TO widgets_widget")
        check_log(log, "42P01")
        assert (await service.write()).status_code == 201
        assert await service.ready() == 200


SLOW_WRITES = """
    CREATE FUNCTION slow_write() RETURNS trigger LANGUAGE plpgsql
    AS 'BEGIN PERFORM pg_sleep(60); RETURN NEW; END';
    CREATE TRIGGER slow_write BEFORE INSERT ON widgets_widget EXECUTE FUNCTION slow_write();
"""


class TestShutdown:
    async def test_of_the_server_under_a_write_is_a_503_and_over_when_it_is_back(
        self, service: Service, server: EmbeddedServer
    ) -> None:
        # Not behind a lock: its holder may be ended first, and then the write succeeds.
        with superuser(server, NAME) as admin:
            admin.execute(SLOW_WRITES)
        write = asyncio.create_task(service.write())
        waiting = b"SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        await eventually(lambda: service.admin.execute(waiting).fetchall())
        await asyncio.to_thread(server.stop, "fast")
        check_outage(await write)

        await asyncio.to_thread(server.start)
        with superuser(server, NAME) as admin:
            admin.execute("DROP FUNCTION slow_write() CASCADE")
        assert (await service.write()).status_code == 201
        assert await service.ready() == 200


class TestStandby:
    async def test_is_told_as_503_for_writes_until_it_is_promoted(
        self, service: Service, server: EmbeddedServer, log: list[str]
    ) -> None:
        await asyncio.to_thread(server.stop, "fast")
        (server.data / "standby.signal").touch()
        await asyncio.to_thread(server.start)
        log.clear()

        check_outage(await service.write())
        assert (await service.transact()).status_code == 503
        assert (await service.read()).status_code == 200
        assert await service.ready() == 503
        check_log(log, "25006")
        with superuser(server) as admin:
            await asyncio.to_thread(admin.execute, "SELECT pg_promote()")

        assert (await service.write()).status_code == 201
        assert (await service.transact()).status_code == 201
        assert await service.ready() == 200
