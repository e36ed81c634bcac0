"""What the Data API can do in a database of ours: nothing, and everything where it is not ours."""

import secrets
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import ProgrammingError

from megapolis import embedded
from megapolis.database.exposure import closing
from tests.checkout import copied
from tests.data_api import OWNER, Project
from tests.megapolis.database.exposure.conftest import Connected, command
from tests.processes import development, manage

OPEN_ALL = """
    GRANT ALL ON ALL TABLES IN SCHEMA public TO anon, authenticated;
    GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO anon, authenticated;
    DO $$ DECLARE name text; BEGIN
        FOR name IN SELECT oid::regclass FROM pg_class WHERE relrowsecurity LOOP
            EXECUTE 'ALTER TABLE ' || name || ' DISABLE ROW LEVEL SECURITY';
        END LOOP;
    END $$
"""
"""How an installation of an earlier version left it."""


RE_GRANTED = """
    GRANT SELECT ON accounts_user TO anon WITH GRANT OPTION;
    SET ROLE anon;
    GRANT SELECT ON accounts_user TO authenticated
"""


def values(project: Project, sql: str) -> list[Any]:
    with project.connect() as connection:
        return [value for (value,) in connection.execute(sql.encode()).fetchall()]


def count(project: Project, condition: str) -> int:
    where = f"relnamespace = 'public'::regnamespace AND {condition}"
    return len(values(project, f"SELECT oid FROM pg_class WHERE {where}"))


class TestInitdb:
    def test_leaves_nothing_open(self, ours: Project) -> None:
        assert count(ours, "relkind = 'r'") >= 13
        assert count(ours, "relkind = 'S'") >= 12
        assert ours.open() == set()

    def test_protects_every_table_from_all_but_its_owner(self, ours: Project) -> None:
        assert count(ours, "relkind = 'r' AND NOT relrowsecurity") == 0
        assert count(ours, "relforcerowsecurity") == 0
        assert values(ours, "SELECT polname FROM pg_policy") == []
        assert values(ours, "SELECT count(*) FROM django_migrations") != [0]

    def test_keeps_the_privileges_of_the_service_role(self, ours: Project) -> None:
        sql = "SELECT has_table_privilege('service_role', 'widgets_widget', 'SELECT')"
        assert values(ours, sql) == [True]

    def test_can_be_repeated(self, ours: Project) -> None:
        assert "REVOKE" not in command(ours, "initdb")
        assert ours.open() == set()


class TestMigrate:
    def test_closes_what_an_earlier_version_left_open(self, ours: Project) -> None:
        ours.execute(OPEN_ALL)
        assert len(ours.open()) >= 25
        printed = command(ours, "migrate")
        for statement in (
            "ALTER TABLE accounts_user ENABLE ROW",
            "REVOKE ALL ON TABLE auth_group ",
        ):
            assert f"Closed to the Data API: {statement}" in printed
        assert ours.open() == set()

    @pytest.mark.parametrize("name", ["Made", '"other"."made"', "100% made", "select"])
    def test_closes_a_table_of_any_name(
        self, ours: Project, connected: Connected, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        with connected(ours) as connection:
            quoted = connection.ops.quote_name(name)
            ours.execute(f"CREATE SCHEMA other; CREATE TABLE {quoted} (id serial)")
            ours.execute(f"GRANT USAGE ON SCHEMA other TO anon; GRANT SELECT ON {quoted} TO anon")
            tables = [*connection.introspection.django_table_names(), name]
            monkeypatch.setattr(connection.introspection, "django_table_names", lambda: tables)
            assert ours.open() != set()
            call_command("migrate", verbosity=0)
        assert ours.open() == set()

    def test_leaves_the_table_of_an_unmanaged_model_alone(
        self, ours: Project, connected: Connected, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Session._meta, "managed", False)
        ours.execute(OPEN_ALL)
        with connected(ours):
            call_command("migrate", verbosity=0)
        assert ours.open() == {"django_session"}

    def test_is_not_needed_after_a_flush(self, ours: Project, connected: Connected) -> None:
        ours.execute(OPEN_ALL)
        with connected(ours):
            call_command("flush", interactive=False, verbosity=0)
        assert ours.open() == set()

    @pytest.mark.parametrize("name", ["upgrade", "initdb"])
    def test_has_other_names(self, ours: Project, name: str) -> None:
        ours.execute(OPEN_ALL)
        command(ours, name)
        assert ours.open() == set()

    def test_backwards_leaves_nothing_open(self, ours: Project) -> None:
        command(ours, "downgrade", "widgets", "-1")
        assert ours.open() == set()
        command(ours, "migrate")
        assert ours.open() == set()

    def test_of_one_app_leaves_nothing_open(self, project: Project) -> None:
        command(project, "migrate", "contenttypes", "0001")
        assert count(project, "relkind = 'r'") == 2
        assert project.open() == set()

    def test_prints_sql_without_a_change(self, ours: Project) -> None:
        assert "CREATE TABLE" in command(ours, "sqlmigrate", "widgets", "0001")

    def test_closes_tables_where_the_search_path_finds_them(
        self, project: Project, connected: Connected
    ) -> None:
        project.execute(
            f'CREATE SCHEMA "My App"; GRANT USAGE ON SCHEMA "My App" TO anon, authenticated;'
            f'ALTER DEFAULT PRIVILEGES IN SCHEMA "My App" GRANT ALL ON TABLES TO anon;'
            f'ALTER ROLE {OWNER} IN DATABASE {project.name} SET search_path = "My App", public'
        )
        command(project, "initdb")
        assert project.open() == set()
        project.execute(
            'GRANT SELECT ON "My App".accounts_user TO anon;'
            "CREATE TABLE public.accounts_user (id int)"
        )
        with connected(project):
            call_command("migrate", verbosity=0)
        assert project.open() == {"accounts_user"}

    def test_runs_with_a_member_of_the_owning_role(
        self, ours: Project, connected: Connected
    ) -> None:
        deployer = f"deployer_{ours.name}"
        ours.execute(f"CREATE ROLE {deployer} LOGIN IN ROLE {OWNER}", user="postgres")
        ours.execute(OPEN_ALL)
        with connected(ours, deployer):
            call_command("migrate", verbosity=0)
        assert ours.open() == set()

    def test_closes_the_partitions_of_a_table(self, ours: Project, connected: Connected) -> None:
        ours.execute(
            "DROP TABLE django_session;"
            "CREATE TABLE django_session (session_key text, expire_date int) "
            "PARTITION BY RANGE (expire_date);"
            "CREATE TABLE first PARTITION OF django_session FOR VALUES FROM (0) TO (9)"
        )
        assert ours.open() == {"django_session", "first"}
        with connected(ours):
            call_command("migrate", verbosity=0)
        assert ours.open() == set()

    @pytest.mark.parametrize(
        "grant",
        [
            "GRANT SELECT (email) ON accounts_user TO anon",
            "GRANT TRUNCATE ON accounts_user TO authenticated",
            "GRANT INSERT ON accounts_user TO PUBLIC",
            RE_GRANTED,
            "GRANT USAGE ON SEQUENCE accounts_user_id_seq TO anon",
        ],
    )
    def test_revokes_every_kind_of_privilege(
        self, ours: Project, connected: Connected, grant: str
    ) -> None:
        ours.execute(
            f"ALTER TABLE accounts_user DISABLE ROW LEVEL SECURITY; {grant}", user="postgres"
        )
        assert ours.open() != set()
        with connected(ours):
            call_command("migrate", verbosity=0)
        assert ours.open() == set()


def test_startfeature_leaves_nothing_open(ours: Project) -> None:
    with copied() as checkout:
        checkout.succeed(
            "make .env && python manage.py startfeature gadgets", DATABASE_URL=ours.url
        )
    assert count(ours, "relname = 'gadgets_gadget' AND relrowsecurity") == 1
    assert ours.open() == set()


CREATIONS = {
    "a table": "CREATE TABLE made (id int PRIMARY KEY)",
    "a table with a serial": "CREATE TABLE made (id serial)",
    "a table with an identity": "CREATE TABLE made (id int GENERATED ALWAYS AS IDENTITY)",
    "a table by SELECT": "CREATE TABLE made AS SELECT email FROM accounts_user",
    "a name that needs quotes": 'CREATE TABLE "It is 100% ""Made""" (id serial)',
    "a partition": "CREATE TABLE made (id int) PARTITION BY RANGE (id);"
    "CREATE TABLE part PARTITION OF made DEFAULT",
    "a child": "CREATE TABLE made (id int); CREATE TABLE child () INHERITS (made)",
    "a view": "CREATE VIEW made AS SELECT email FROM accounts_user",
    "a materialized view": "CREATE MATERIALIZED VIEW made AS SELECT email FROM accounts_user",
    "a sequence": "CREATE SEQUENCE made",
    "another schema": "CREATE SCHEMA made; GRANT USAGE ON SCHEMA made TO anon;"
    "CREATE TABLE made.made (id int); GRANT ALL ON made.made TO anon",
    "an unlogged table": "CREATE UNLOGGED TABLE made (id int)",
}
ROUTINES = {
    "a function": "FUNCTION made(a int, b text) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "a definer's": "FUNCTION made() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
    "a trigger": "FUNCTION made() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "a procedure": "PROCEDURE made(a int, OUT b int) LANGUAGE sql AS 'SELECT 1'",
    "an aggregate": "AGGREGATE made(int) (SFUNC = int4pl, STYPE = int)",
}
MAY_EXECUTE = """
    SELECT role FROM pg_proc, unnest(ARRAY['anon', 'authenticated']) AS role
    WHERE proname = 'made' AND has_function_privilege(role, pg_proc.oid, 'EXECUTE')
"""


def migrate(connection: Any, *statements: str, atomic: bool = True) -> None:
    """Run the statements as a migration does."""
    with connection.schema_editor(atomic=atomic) as editor:
        for statement in statements:
            editor.execute(statement, None)


class TestMigration:
    @pytest.mark.parametrize("atomic", [True, False])
    @pytest.mark.parametrize("sql", CREATIONS.values(), ids=CREATIONS)
    def test_leaves_nothing_open_that_it_creates(
        self, ours: Project, connected: Connected, sql: str, atomic: bool
    ) -> None:
        with connected(ours) as connection:
            migrate(connection, sql, atomic=atomic)
        assert ours.open() == set()

    @pytest.mark.parametrize("sql", ROUTINES.values(), ids=ROUTINES)
    def test_leaves_no_function_open(self, ours: Project, connected: Connected, sql: str) -> None:
        with connected(ours) as connection, connection.schema_editor() as editor:
            editor.execute(f"CREATE {sql}", None)
            assert values(ours, MAY_EXECUTE) == []
        assert values(ours, "SELECT count(*) FROM pg_proc WHERE proname = 'made'") == [1]
        assert values(ours, MAY_EXECUTE) == []

    def test_closes_in_its_own_transaction(self, ours: Project, connected: Connected) -> None:
        with connected(ours) as connection:
            migrate(connection, "CREATE TABLE made (id serial)")
        created = values(ours, "SELECT xmin FROM pg_attribute WHERE attrelid = 'made'::regclass")
        closed = values(ours, "SELECT xmin FROM pg_class WHERE relname IN ('made', 'made_id_seq')")
        assert len(set(created + closed)) == 1

    @pytest.mark.parametrize("atomic", [True, False])
    def test_that_fails_leaves_nothing_open_and_raises_its_own_error(
        self, ours: Project, connected: Connected, atomic: bool
    ) -> None:
        with connected(ours) as connection:
            with pytest.raises(ProgrammingError, match="nothing"):
                migrate(connection, "CREATE TABLE made (id serial)", "TABLE nothing", atomic=atomic)
            assert not connection.in_atomic_block
        assert count(ours, "relname = 'made'") == int(not atomic)
        assert ours.open() == set()

    def test_is_undone_if_it_cannot_be_closed(
        self, ours: Project, connected: Connected, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(closing, "close_new", fail)
        with connected(ours) as connection:
            with pytest.raises(ZeroDivisionError):
                migrate(connection, "CREATE TABLE made (id serial)")
            assert not connection.in_atomic_block
        assert count(ours, "relname = 'made'") == 0

    def test_may_change_rows_of_the_tables_that_it_creates(
        self, ours: Project, connected: Connected
    ) -> None:
        with connected(ours) as connection, connection.schema_editor() as editor:
            editor.execute(
                "CREATE TABLE made (id serial PRIMARY KEY, owner bigint NOT NULL REFERENCES "
                "accounts_user DEFERRABLE INITIALLY DEFERRED); SET CONSTRAINTS ALL IMMEDIATE;"
                "INSERT INTO accounts_user (email) VALUES ('ada@example.com');"
                "INSERT INTO made (owner) SELECT id FROM accounts_user"
            )
        assert ours.open() == set()


class TestOthers:
    def test_keep_what_they_have_in_our_schema(self, ours: Project, connected: Connected) -> None:
        ours.execute(
            "CREATE TABLE todos (id serial);"
            "CREATE VIEW names AS SELECT id FROM todos;"
            "CREATE FUNCTION made() RETURNS int LANGUAGE sql AS 'SELECT 1'"
        )
        theirs = {"todos", "todos_id_seq", "names"}
        assert ours.open() == theirs
        with connected(ours) as connection:
            call_command("migrate", verbosity=0)
            with connection.schema_editor() as editor:
                editor.execute("CREATE TABLE made (id serial)")
        assert ours.open() == theirs
        assert values(ours, MAY_EXECUTE) == ["anon", "authenticated"]
        assert count(ours, "relname = 'todos' AND relrowsecurity") == 0

    def test_keep_other_schemas_and_the_defaults_of_what_they_create(
        self, ours: Project, connected: Connected
    ) -> None:
        ours.execute(
            "CREATE SCHEMA other; GRANT USAGE ON SCHEMA other TO anon;"
            "CREATE TABLE other.accounts_user (id int); GRANT ALL ON other.accounts_user TO anon"
        )
        defaults = values(ours, "SELECT defaclacl::text FROM pg_default_acl")
        with connected(ours):
            call_command("migrate", verbosity=0)
        assert ours.open() == {"other.accounts_user"}
        assert values(ours, "SELECT defaclacl::text FROM pg_default_acl") == defaults
        ours.execute("CREATE TABLE todos (id int)")
        assert ours.open() == {"other.accounts_user", "todos"}

    def test_keep_the_functions_of_an_extension(self, ours: Project, connected: Connected) -> None:
        with connected(ours, "postgres") as connection:
            migrate(connection, "CREATE EXTENSION vector")
        sql = "SELECT has_function_privilege('anon', 'vector_dims(vector)', 'EXECUTE')"
        assert values(ours, sql) == [True]

    def test_keep_temporary_tables(self, ours: Project, connected: Connected) -> None:
        with connected(ours) as connection:
            migrate(connection, "CREATE TEMPORARY TABLE made (id int)")
        assert ours.open() == set()


class TestPlainPostgreSQL:
    @pytest.fixture
    def plain(self, pool: None) -> Iterator[Project]:
        """A database on a server without the roles of a Data API."""
        project = Project(embedded.start(), f"plain_{secrets.token_hex(4)}")
        server = Project(project.folder, "postgres")
        yield project
        server.execute(f"DROP DATABASE {project.name}", user="postgres")

    def test_is_left_alone(self, plain: Project) -> None:
        url = f"postgresql://postgres@/{plain.name}?host={quote(plain.folder, safe='')}"
        given = development() | {"DATABASE_URL": url}
        done = manage("initdb", given=given)
        assert done.returncode == 0, done.stderr
        assert manage("check", "--database", "default", given=given).returncode == 0
        with plain.connect("postgres") as connection:
            sql = b"SELECT FROM pg_class WHERE oid > 16384 AND (relrowsecurity OR relacl <> '{}')"
            assert connection.execute(sql).fetchall() == []


def test_psycopg_is_used_as_the_owner(ours: Project) -> None:
    """The tests prove nothing if they run as a superuser."""
    with ours.connect() as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("CREATE ROLE somebody")
