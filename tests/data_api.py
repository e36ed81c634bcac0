"""A PostgreSQL server as that of a Supabase project, and what its Data API can do there.

    ENVIRONMENT=test python -m tests.data_api

runs one until Ctrl-C, and prints its DATABASE_URL, with which the tests can be run.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import errors

from megapolis.embedded import EmbeddedServer
from megapolis.environment import BASE_DIR

OWNER = "megapolis"
API_ROLES = ("anon", "authenticated")

ROLES = f"""
    CREATE ROLE anon;
    CREATE ROLE authenticated;
    CREATE ROLE service_role BYPASSRLS;
    CREATE ROLE authenticator LOGIN NOINHERIT;
    GRANT anon, authenticated, service_role TO authenticator;
    CREATE ROLE {OWNER} LOGIN CREATEDB;
"""
DEFAULT_PRIVILEGES = "".join(
    f"""
    ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} IN SCHEMA public
    GRANT ALL ON {kind} TO anon, authenticated, service_role;"""
    for kind in ("TABLES", "SEQUENCES", "FUNCTIONS")
)
"""For the template, so that every database has them, those of the tests included."""

CALLS = ("nextval(sequence)", "setval(sequence, 1)", "currval(sequence)")
RELATIONS = """
    SELECT oid::regclass::text, relkind, ARRAY(
        SELECT quote_ident(attname) FROM pg_attribute
        WHERE attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
    )
    FROM pg_class
    WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND relpersistence <> 't'
    AND relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
    ORDER BY 1
"""
NOT_FOR_VIEWS = (errors.WrongObjectType, errors.ObjectNotInPrerequisiteState)
"""PostgreSQL rejects a TRUNCATE of a view before it looks at the privileges."""


@dataclass
class Project:
    """A database of a role that is not superuser; what it creates is open to the Data API."""

    folder: str
    name: str

    @property
    def url(self) -> str:
        return f"postgresql://{OWNER}@/{self.name}?host={quote(self.folder, safe='')}"

    def connect(self, user: str = OWNER) -> "psycopg.Connection[tuple[Any, ...]]":
        return psycopg.connect(host=self.folder, user=user, dbname=self.name, autocommit=True)

    def execute(self, sql: str, *, user: str = OWNER) -> None:
        with self.connect(user) as connection:
            connection.execute(sql.encode())

    def open(self) -> set[str]:
        """Return what the Data API can read or write, having tried everything as both roles."""
        with self.connect() as connection:
            connection.execute("SET search_path = ''")  # so that every name has its schema
            relations = connection.execute(RELATIONS).fetchall()
        with self.connect("authenticator") as connection:
            return {
                name.removeprefix("public.")
                for role in API_ROLES
                for name, kind, columns in relations
                if any(_may(connection, role, each) for each in _statements(name, kind, columns))
            }


def _statements(name: str, kind: str, columns: list[str]) -> list[str]:
    if kind == "S":
        functions = (f"{call} FROM (SELECT '{name}'::regclass AS sequence)" for call in CALLS)
        return [f"SELECT last_value FROM {name}", *(f"SELECT {each}" for each in functions)]
    return [
        f"SELECT FROM {name}",
        *(f"INSERT INTO {name} ({column}) VALUES (DEFAULT)" for column in columns),
        *(f"UPDATE {name} SET {column} = DEFAULT" for column in columns),
        f"DELETE FROM {name}",
        f"TRUNCATE {name}",
    ]


def _may(connection: "psycopg.Connection[Any]", role: str, statement: str) -> bool:
    """Run a statement as PostgREST does, and undo it. Another error than "denied" is a yes."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(f"SET LOCAL ROLE {role}".encode())
            connection.execute(statement.encode())
    except (errors.InsufficientPrivilege, *NOT_FOR_VIEWS):
        return False
    except psycopg.Error:
        return True
    return True


@contextmanager
def data_api_server() -> Iterator[str]:
    """Run a server until the block ends; yields the folder of its socket.

    It is in the checkout: pytest's own folders may be closed to the account of the server.
    """
    parent = BASE_DIR / ".postgres"
    parent.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=parent) as folder:
        server = EmbeddedServer(Path(folder) / "server", durable=False)
        socket = server.start()
        try:
            for database, sql in (("postgres", ROLES), ("template1", DEFAULT_PRIVILEGES)):
                Project(socket, database).execute(sql, user="postgres")
            yield socket
        finally:
            server.stop()


def main() -> None:
    """Serve until Ctrl-C."""
    with data_api_server() as folder, suppress(KeyboardInterrupt):
        print(Project(folder, "postgres").url, flush=True)  # noqa: T201 - a command
        signal.pause()


if __name__ == "__main__":
    main()
