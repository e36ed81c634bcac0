"""PgBouncer in transaction mode between the service and PostgreSQL."""

import asyncio
import shutil
import subprocess
import time
from collections.abc import Iterator

import pytest
from psycopg.conninfo import conninfo_to_dict

from megapolis import database as service_database
from megapolis import environment
from megapolis.database import connection, execute
from tests.faults.conftest import Report, Serve, check
from tests.faults.load import Load
from tests.faults.service import Database
from tests.ports import free_port, listens
from tests.waiting import until

PROGRAM = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")
CONFIGURATION = """
[databases]
postgres = host={host} dbname=postgres user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 4
max_client_conn = 200
server_tls_sslmode = disable
logfile = {folder}/pgbouncer.log
"""


@pytest.fixture
def pooler(database: Database) -> Iterator[str]:
    """Its address. Four connections to PostgreSQL serve everybody."""
    if PROGRAM is None:
        pytest.skip("PgBouncer is not installed (apt-get install pgbouncer).")
    port = free_port()
    host, folder = database.server.start(), database.server.folder / "pooler"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    file = folder / "pgbouncer.ini"
    file.write_text(CONFIGURATION.format(host=host, port=port, folder=folder))
    # It refuses to run as root, and PostgreSQL lets its own account into its folder.
    account = database.server._account()
    with subprocess.Popen(
        [PROGRAM, str(file)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        user=account.pw_uid if account else None,
        group=account.pw_gid if account else None,
    ) as process:
        try:
            until(lambda: listens(port) or process.poll() is not None)
            assert process.poll() is None, (folder / "pgbouncer.log").read_text()
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
        finally:
            process.terminate()


@pytest.mark.faults
class TestPooler:
    async def test_serves_without_prepared_statements(
        self, serve: Serve, pooler: str, token: str, database: Database, report: Report
    ) -> None:
        through = {"DATABASE_URL": pooler, "DATABASE_PREPARED_STATEMENTS": "false"}
        async with serve(through) as service:
            load = Load(service.port, token)
            async with load:
                await load.runs(500)
                database.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE backend_type = 'client backend' AND application_name <> 'the test'"
                )
                terminated = time.monotonic()
                await load.runs(200)

        assert set(load.errors) <= {503}
        check(load, database)
        report.add(
            "PgBouncer in transaction mode, its connections terminated",
            load,
            recovery=load.next_success(terminated) - terminated,
        )

    async def test_gives_each_caller_its_own_rows(
        self, pooler: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """PgBouncer reads 4 KiB at a time, and must not have two statements of a connection."""
        parameters = conninfo_to_dict(pooler) | {"autocommit": True}
        monkeypatch.setattr(environment, "DATABASE_PREPARED_STATEMENTS", False)
        monkeypatch.setattr(execute, "_pool", None)
        monkeypatch.setattr(connection, "connection_parameters", lambda: parameters)

        async def ask(user: int) -> None:
            for number in range(100):
                token = f"{user} {number} " + "x" * (1, 10, 20_000)[(user + number) % 3]
                found = await service_database.fetch(
                    b"SELECT $1::text", [token], reads=number % 2 == 0
                )
                assert found == [(token,)]

        async with service_database.connected(), asyncio.timeout(60):
            await asyncio.gather(*(ask(user) for user in range(40)))
