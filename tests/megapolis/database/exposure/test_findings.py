"""What `check --database default`, `migrate` and the service say of tables that are open."""

import re
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.checks import CheckMessage
from django.core.management import call_command

from megapolis import environment
from megapolis.database import execute
from megapolis.database.errors import DatabaseUnavailable
from megapolis.database.exposure import checks
from megapolis.database.exposure.checks import check_at_start, check_exposure
from tests.data_api import OWNER, Project
from tests.megapolis.database.exposure.conftest import Connected, command
from tests.processes import production, serving
from tests.waiting import eventually, until


@pytest.fixture
def other(ours: Project) -> Iterator[str]:
    """A role that may do everything with our tables, and neither owns them nor may bypass RLS."""
    name = f"other_{secrets.token_hex(4)}"
    ours.execute(f"CREATE ROLE {name} LOGIN", user="postgres")
    ours.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}")
    yield name
    ours.execute(f"DROP OWNED BY {name}; DROP ROLE {name}", user="postgres")


class TestCheck:
    def found(self, connected: Connected, project: Project, user: str = OWNER) -> list[Any]:
        with connected(project, user):
            return check_exposure(databases=["default"])

    def test_is_silent_after_initdb(self, ours: Project) -> None:
        assert "no issues" in command(ours, "check", "--database", "default")

    def test_is_silent_before_initdb(self, project: Project, connected: Connected) -> None:
        assert self.found(connected, project) == []

    def test_does_not_ask_a_database_that_is_not_named(self) -> None:
        assert check_exposure(databases=None) == []

    def test_fails_with_each_table_that_is_open(self, ours: Project) -> None:
        ours.execute("GRANT SELECT ON accounts_user TO anon; GRANT ALL ON widgets_widget TO anon")
        said = command(ours, "check", "--database", "default", fails=True)
        assert re.findall(r"^(\w+): \(megapolis.E003\)", said, re.MULTILINE) == [
            *("accounts_user", "widgets_widget")
        ]
        assert "Run `python manage.py migrate`." in said

    @pytest.mark.parametrize(
        ("sql", "name", "reason"),
        [
            ("GRANT SELECT ON accounts_user TO anon", "accounts_user", "privileges of anon."),
            (
                "GRANT SELECT (email) ON accounts_user TO anon",
                "accounts_user",
                "privileges of anon.",
            ),
            (
                "GRANT DELETE ON django_session TO authenticated",
                "django_session",
                "privileges of authenticated.",
            ),
            ("GRANT TRUNCATE ON django_session TO anon", "django_session", "privileges of anon."),
            ("GRANT TRIGGER ON django_session TO anon", "django_session", "privileges of anon."),
            ("GRANT REFERENCES ON django_session TO anon", "django_session", "privileges of anon."),
            ("GRANT SELECT ON accounts_user TO PUBLIC", "accounts_user", "anon and authenticated"),
            (
                "GRANT SELECT ON django_migrations TO anon",
                "django_migrations",
                "privileges of anon.",
            ),
            (
                "GRANT SELECT ON accounts_user_groups TO anon",
                "accounts_user_groups",
                "privileges of anon.",
            ),
            (
                "GRANT USAGE ON SEQUENCE auth_group_id_seq TO anon",
                "auth_group_id_seq",
                "privileges of anon.",
            ),
            ("ALTER TABLE auth_group DISABLE ROW LEVEL SECURITY", "auth_group", "is off"),
        ],
    )
    def test_names_each_kind_of_opening_until_migrate_closes_it(
        self, ours: Project, connected: Connected, sql: str, name: str, reason: str
    ) -> None:
        ours.execute(sql)
        [message] = self.found(connected, ours)
        assert message.obj == name
        assert reason in message.msg
        assert message.is_serious()
        with connected(ours):
            call_command("migrate", verbosity=0)
        assert self.found(connected, ours) == []

    def test_names_a_privilege_that_comes_from_another_role(
        self, ours: Project, connected: Connected, log: list[str]
    ) -> None:
        readers = f"readers_{ours.name}"
        ours.execute(f"CREATE ROLE {readers}; GRANT {readers} TO anon", user="postgres")
        ours.execute(f"GRANT SELECT ON accounts_user TO {readers}")
        with connected(ours):
            call_command("migrate", verbosity=0)
        [message] = self.found(connected, ours)
        assert (message.obj, message.id) == ("accounts_user", "megapolis.E003")
        assert re.search(
            r"ERROR accounts_user: Open to the Data API: there are privileges of anon", "".join(log)
        )

    def test_names_a_partition_that_was_made_since(
        self, ours: Project, connected: Connected
    ) -> None:
        ours.execute(
            "DROP TABLE django_session;"
            "CREATE TABLE django_session (session_key text) PARTITION BY LIST (session_key)"
        )
        with connected(ours):
            call_command("migrate", verbosity=0)
        ours.execute("CREATE TABLE part PARTITION OF django_session DEFAULT")
        assert {message.obj for message in self.found(connected, ours)} == {"part"}

    @pytest.mark.parametrize("kind", ["VIEW", "MATERIALIZED VIEW"])
    def test_warns_of_a_view_of_somebody_elses_on_our_tables(
        self, ours: Project, connected: Connected, kind: str
    ) -> None:
        ours.execute(
            "CREATE VIEW inner_one AS SELECT email FROM accounts_user;"
            "REVOKE ALL ON inner_one FROM anon, authenticated;"
            f"CREATE {kind} addresses AS SELECT email FROM inner_one"
        )
        [message] = self.found(connected, ours)
        assert (message.obj, message.id) == ("addresses", "megapolis.W001")
        assert not message.is_serious()

    def test_allows_a_view_with_the_rights_of_its_reader(
        self, ours: Project, connected: Connected
    ) -> None:
        ours.execute("CREATE VIEW v WITH (security_invoker) AS SELECT email FROM accounts_user")
        assert self.found(connected, ours) == []

    def test_allows_tables_in_a_schema_that_the_roles_cannot_use(
        self, ours: Project, connected: Connected
    ) -> None:
        ours.execute("GRANT SELECT ON accounts_user TO anon")
        ours.execute("REVOKE USAGE ON SCHEMA public FROM PUBLIC, anon, authenticated")
        assert self.found(connected, ours) == []

    def test_allows_tables_of_others(self, ours: Project, connected: Connected) -> None:
        ours.execute("CREATE TABLE todos (id serial, owner bigint REFERENCES accounts_user)")
        assert self.found(connected, ours) == []

    def test_says_that_a_role_would_see_no_rows(
        self, ours: Project, connected: Connected, other: str
    ) -> None:
        messages = self.found(connected, ours, other)
        assert len(messages) >= 13
        assert {message.id for message in messages} == {"megapolis.E005"}
        assert f"hides its rows from the role of DATABASE_URL, {other}." in messages[0].msg
        assert f"Connect as its owner, {OWNER}, " in messages[0].hint

    def test_says_who_may_close_a_table(
        self, ours: Project, connected: Connected, other: str
    ) -> None:
        ours.execute("ALTER TABLE auth_group DISABLE ROW LEVEL SECURITY")
        [message] = [m for m in self.found(connected, ours, other) if m.id == "megapolis.E004"]
        assert f"as its owner, {OWNER}" in message.hint

    @pytest.mark.parametrize(
        "right", ["ALTER ROLE {} BYPASSRLS", "GRANT megapolis TO {}", "ALTER ROLE {} SUPERUSER"]
    )
    def test_allows_a_role_that_sees_every_row(
        self, ours: Project, connected: Connected, other: str, right: str
    ) -> None:
        ours.execute(right.format(other), user="postgres")
        assert self.found(connected, ours, other) == []

    def test_says_that_an_owner_would_see_no_rows(
        self, ours: Project, connected: Connected
    ) -> None:
        ours.execute("ALTER TABLE auth_group FORCE ROW LEVEL SECURITY")
        [message] = self.found(connected, ours)
        assert message.id == "megapolis.E005"
        assert "`ALTER TABLE auth_group NO FORCE ROW LEVEL SECURITY`" in message.hint

    def test_does_not_keep_migrate_from_closing_what_it_names(self, ours: Project) -> None:
        ours.execute("GRANT SELECT ON accounts_user TO anon")
        assert "REVOKE ALL ON TABLE accounts_user" in command(ours, "migrate")


class TestStart:
    def test_in_production_logs_the_tables_that_are_open(self, ours: Project) -> None:
        ours.execute("GRANT SELECT ON accounts_user, widgets_widget TO anon")
        with serving(production() | {"DATABASE_URL": ours.url}) as service:
            until(lambda: "megapolis.E003" in "".join(service.log))
            [line] = [line for line in service.log if "megapolis.E003" in line]
        assert "ERROR" in line
        assert (
            "accounts_user, widgets_widget: Open to the Data API: there are privileges of anon."
            in line
        )
        assert "Run `python manage.py migrate`." in line

    async def test_logs_nothing_of_a_database_that_is_closed(
        self, db: None, log: list[str], production_checks: list[list[CheckMessage]]
    ) -> None:
        async with check_at_start():
            await eventually(lambda: production_checks)
        assert production_checks == [[]]
        assert log == []

    async def test_waits_for_a_database_that_is_away(
        self,
        db: None,
        production_checks: list[list[CheckMessage]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        ordinary, attempts = execute.fetch, []

        async def fetch(*arguments: Any, **options: Any) -> Any:
            attempts.append(arguments)
            if len(attempts) < 3:
                raise DatabaseUnavailable
            return await ordinary(*arguments, **options)

        monkeypatch.setattr(execute, "fetch", fetch)
        monkeypatch.setattr(checks, "PAUSE", 0.001)
        async with check_at_start():
            await eventually(lambda: production_checks)
        assert len(attempts) == 3

    async def test_ends_with_a_service_whose_database_stays_away(
        self, monkeypatch: pytest.MonkeyPatch, nothing_unhandled: None
    ) -> None:
        async def fetch(*arguments: Any, **options: Any) -> Any:
            raise DatabaseUnavailable

        monkeypatch.setattr(environment, "ENVIRONMENT", "production")
        monkeypatch.setattr(execute, "fetch", fetch)
        async with check_at_start():
            pass

    async def test_logs_why_it_cannot_tell(
        self, db: None, log: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(environment, "ENVIRONMENT", "production")
        monkeypatch.setattr(checks, "FINDINGS", "SELECT WHERE {names} IS NOT A QUERY")
        async with check_at_start():
            await eventually(lambda: log)
        assert "Cannot check which tables are open: " in log[0]

    async def test_asks_nothing_in_development(
        self, monkeypatch: pytest.MonkeyPatch, nothing_unhandled: None
    ) -> None:
        async def fetch(*arguments: Any, **options: Any) -> Any:
            raise AssertionError

        monkeypatch.setattr(environment, "ENVIRONMENT", "development")
        monkeypatch.setattr(execute, "fetch", fetch)
        async with check_at_start():
            pass

    def test_logs_warnings_as_such_and_not_what_is_silenced(
        self, ours: Project, connected: Connected, settings: Any, log: list[str]
    ) -> None:
        ours.execute("CREATE VIEW addresses AS SELECT email FROM accounts_user")
        with connected(ours):
            call_command("migrate", verbosity=0)
            [line] = log
            settings.SILENCED_SYSTEM_CHECKS = ["megapolis.W001"]
            call_command("migrate", verbosity=0)
        assert line.startswith("WARNING addresses: This view reads our tables")
        assert log == [line]


@pytest.fixture
def production_checks(monkeypatch: pytest.MonkeyPatch) -> list[list[CheckMessage]]:
    """The messages of each check at a start in production."""
    found: list[list[CheckMessage]] = []
    ordinary = checks._log

    def record(messages: list[CheckMessage]) -> None:
        found.append(messages)
        ordinary(messages)

    monkeypatch.setattr(environment, "ENVIRONMENT", "production")
    monkeypatch.setattr(checks, "_log", record)
    return found
