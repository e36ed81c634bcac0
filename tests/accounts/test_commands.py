"""The commands of accounts."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError

from accounts.supabase import stand_in
from megapolis import environment
from tests import factories
from tests.accounts.conftest import Exchange, rows
from tests.conftest import MakeClient, RunCommand
from tests.fakes import FakeSupabase

USERS = "SELECT email, is_staff FROM accounts_user ORDER BY id"


def email_of(length: int) -> str:
    """Return a valid address with this many characters."""
    domain = f"@{'d' * 60}.{'e' * 60}.{'f' * 60}.example.com"
    return "a" * (length - len(domain)) + domain


class TestToken:
    async def test_prints_a_token_that_works_and_nothing_else(
        self, run_command: RunCommand, make_client: MakeClient
    ) -> None:
        printed = await run_command("token", "Ada@Example.com")
        client = await make_client(headers={"Authorization": f"Bearer {printed.strip()}"})

        assert printed.count("\n") == 1
        me = (await client.get("/auth/me")).json()
        assert (me["email"], me["supabase_id"], me["is_staff"]) == ("ada@example.com", None, False)

    async def test_takes_the_user_that_there_is_in_any_spelling(
        self, run_command: RunCommand
    ) -> None:
        await factories.make_user(email="ada@example.com")
        await run_command("token", "ADA@example.com")

        assert await rows(USERS) == [("ada@example.com", False)]

    async def test_makes_the_user_staff_if_told_so_and_never_the_contrary(
        self, run_command: RunCommand
    ) -> None:
        await run_command("token", "ada@example.com", "--staff")
        await run_command("token", "ada@example.com", "--staff")
        await run_command("token", "ada@example.com")

        assert await rows(USERS) == [("ada@example.com", True)]

    async def test_says_when_it_made_the_user_staff(self, run_command: RunCommand) -> None:
        await run_command("token", "ada@example.com")
        await rows("UPDATE accounts_user SET updated_at = 'epoch' RETURNING id")
        updated = "SELECT updated_at > 'epoch' FROM accounts_user"
        await run_command("token", "ada@example.com")
        assert await rows(updated) == [(False,)]
        await run_command("token", "ada@example.com", "--staff")

        assert await rows(updated) == [(True,)]

    async def test_gives_the_user_no_password(self, run_command: RunCommand) -> None:
        await run_command("token", "ada@example.com")

        assert await rows("SELECT password FROM accounts_user") == [("!",)]

    @pytest.mark.parametrize("email", ["", " ", "ada", "@example.com", "ada@", "a b@example.com"])
    async def test_refuses_what_is_no_email(self, run_command: RunCommand, email: str) -> None:
        """An empty one would be any user without an email."""
        await rows("INSERT INTO accounts_user (supabase_id) VALUES ($1) RETURNING id", uuid4())
        with pytest.raises(CommandError, match="EMAIL is not an email address"):
            await run_command("token", email)

        assert await rows(USERS) == [(None, False)]
        assert await rows("SELECT id FROM accounts_apisession") == []

    async def test_refuses_an_email_that_no_column_holds(self, run_command: RunCommand) -> None:
        """Django's validator would let 320 characters pass."""
        longest, too_long = email_of(254), email_of(255)
        await run_command("token", longest)
        with pytest.raises(CommandError, match="EMAIL has more than 254 characters"):
            await run_command("token", too_long)

        assert await rows(USERS) == [(longest, False)]

    async def test_refuses_a_deactivated_user(self, run_command: RunCommand) -> None:
        await factories.make_user(email="ada@example.com", is_active=False)
        with pytest.raises(CommandError, match="The user is deactivated"):
            await run_command("token", "ada@example.com")


class TestUsersOfCommands:
    """The email of a Supabase user may be unverified, and finds nobody."""

    @pytest.fixture
    async def supabase_user(self, db: None) -> factories.UserRow:
        return await factories.make_user(email="ada@example.com", supabase_id=uuid4())

    @pytest.mark.parametrize("options", [(), ("--staff",)])
    @pytest.mark.parametrize("email", ["ada@example.com", "ADA@Example.com", " ada@example.com "])
    async def test_are_not_found_by_an_email_from_supabase(
        self,
        run_command: RunCommand,
        supabase_user: factories.UserRow,
        email: str,
        options: tuple[str, ...],
    ) -> None:
        message = f"user {supabase_user.id}, .* {supabase_user.supabase_id}.* give the id"
        with pytest.raises(CommandError, match=message):
            await run_command("token", email, *options)

        assert await rows(USERS) == [("ada@example.com", False)]
        assert await rows("SELECT id FROM accounts_apisession") == []

    @pytest.mark.parametrize("name", ["id", "supabase_id"])
    async def test_are_found_by_either_id(
        self,
        run_command: RunCommand,
        supabase_user: factories.UserRow,
        make_client: MakeClient,
        name: str,
    ) -> None:
        printed = await run_command("token", str(getattr(supabase_user, name)), "--staff")
        client = await make_client(headers={"Authorization": f"Bearer {printed.strip()}"})

        me = (await client.get("/auth/me")).json()
        assert (me["id"], me["is_staff"]) == (supabase_user.id, True)

    @pytest.mark.parametrize("name", ["0", "999", "9" * 30, "5ca1ab1e-0000-4000-8000-000000000000"])
    async def test_are_not_created_by_an_id(self, run_command: RunCommand, name: str) -> None:
        with pytest.raises(CommandError, match=r"^There is no user with this id\.$"):
            await run_command("token", name, "--staff")

        assert await rows(USERS) == []

    async def test_lose_a_password_that_they_had_before_they_became_staff(
        self, run_command: RunCommand
    ) -> None:
        user = await factories.make_user(email="ada@example.com")
        await rows("UPDATE accounts_user SET password = 'md5$a$planted' WHERE id = $1", user.id)
        await run_command("token", "ada@example.com")
        assert await rows("SELECT password FROM accounts_user") == [("md5$a$planted",)]
        await run_command("token", "ada@example.com", "--staff")

        ((password,),) = await rows("SELECT password FROM accounts_user")
        assert password.startswith("!")

    async def test_keep_the_password_that_they_have_as_staff(self, run_command: RunCommand) -> None:
        await factories.make_user(email="ada@example.com", is_staff=True)
        await rows("UPDATE accounts_user SET password = 'md5$a$own'")
        await run_command("token", "ada@example.com", "--staff")

        assert await rows("SELECT password FROM accounts_user") == [("md5$a$own",)]

    @pytest.mark.parametrize("email", ["ada@example.com", "Ada@EXAMPLE.com"])
    async def test_have_no_password_changed_by_an_email_from_supabase(
        self,
        run_command: RunCommand,
        supabase_user: factories.UserRow,
        email: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("getpass.getpass", lambda prompt: "correct horse battery staple")
        with pytest.raises(CommandError, match=r"set the password in the admin\.$"):
            await run_command("changepassword", email)

        assert await rows("SELECT password FROM accounts_user") == [("!",)]

    async def test_of_local_accounts_have_their_password_changed_by_email(
        self, run_command: RunCommand, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("getpass.getpass", lambda prompt: "correct horse battery staple")
        await factories.make_user(email="ada@example.com")
        await run_command("changepassword", "Ada@example.com")

        ((password,),) = await rows("SELECT password FROM accounts_user")
        assert not password.startswith("!")

    async def test_do_not_become_superusers_by_an_email_from_supabase(
        self, run_command: RunCommand, supabase_user: factories.UserRow
    ) -> None:
        with pytest.raises(CommandError, match="already taken"):
            await run_command("createsuperuser", "--noinput", "--email", "ada@example.com")

        superusers = "SELECT id FROM accounts_user WHERE is_superuser OR is_staff"
        assert await rows(superusers) == []

    async def test_without_an_email_are_nobody_to_changepassword(
        self, run_command: RunCommand, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("getpass.getuser", lambda: "root")
        await rows("INSERT INTO accounts_user (supabase_id) VALUES ($1) RETURNING id", uuid4())
        with pytest.raises(CommandError, match="user 'root' does not exist"):
            await run_command("changepassword")


class TestSupabaseToken:
    @pytest.fixture
    def development(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
        monkeypatch.setattr(environment, "ENVIRONMENT", "development")
        monkeypatch.setattr(environment, "BASE_DIR", tmp_path)

    @pytest.mark.usefixtures("development")
    async def test_prints_a_token_that_the_exchange_accepts_in_development(
        self, exchange: Exchange, run_command: RunCommand
    ) -> None:
        printed = await run_command("supabase_token", "Ada@Example.com")

        assert printed.count("\n") == 1
        assert (await exchange(printed.strip())).status_code == 200
        assert await rows(USERS) == [("ada@example.com", False)]

    async def test_prints_nothing_outside_of_development(self, run_command: RunCommand) -> None:
        with pytest.raises(CommandError, match="needs ENVIRONMENT=development"):
            await run_command("supabase_token", "ada@example.com")

    async def test_of_development_is_refused_by_the_exchange_elsewhere(
        self, exchange: Exchange, queries: list[bytes], tmp_path: Any
    ) -> None:
        token = stand_in.StandInIssuer(tmp_path).token("ada@example.com")

        assert (await exchange(token)).status_code == 401
        assert queries == []

    @pytest.mark.usefixtures("development")
    @pytest.mark.parametrize("email", ["", "ada"])
    async def test_refuses_what_is_no_email(self, run_command: RunCommand, email: str) -> None:
        with pytest.raises(CommandError, match="EMAIL is not an email address"):
            await run_command("supabase_token", email)

    @pytest.mark.usefixtures("development")
    async def test_refuses_an_email_that_the_exchange_would_not_take(
        self, run_command: RunCommand
    ) -> None:
        with pytest.raises(CommandError, match="EMAIL has more than 254 characters"):
            await run_command("supabase_token", email_of(255))


class TestClearSessions:
    async def test_removes_what_is_over_and_keeps_for_a_year_what_was_ended(
        self, run_command: RunCommand
    ) -> None:
        user, now = await factories.make_user(), datetime.now(UTC)
        day, year = timedelta(days=1), timedelta(days=365)
        sessions = {
            "active": await factories.make_session(user, lifetime=day),
            "over": await factories.make_session(user, lifetime=-day),
            "ended": await factories.make_session(user, revoked_at=now),
            "ended, over": await factories.make_session(user, lifetime=-day, revoked_at=now - day),
            "ended almost a year ago, over": await factories.make_session(
                user, lifetime=-day, revoked_at=now - year + day
            ),
            "ended over a year ago, over": await factories.make_session(
                user, lifetime=-day, revoked_at=now - year - day
            ),
            "over, of Supabase": await factories.make_session(
                user, lifetime=day - year, supabase_session_id=uuid4()
            ),
            "over for a year, of Supabase": await factories.make_session(
                user, lifetime=-day - year, supabase_session_id=uuid4()
            ),
            "ended over a year ago, and asked for since": await factories.make_session(
                user, lifetime=day, revoked_at=now - year - day
            ),
        }
        printed = await run_command("clearsessions")

        kept = {row[0] for row in await rows("SELECT id FROM accounts_apisession")}
        removed = {name for name, session in sessions.items() if session.id not in kept}
        assert removed == {*("over", "over for a year, of Supabase", "ended over a year ago, over")}
        assert printed == "Removed 3 expired API sessions.\n"

    async def test_removes_expired_sessions_of_the_admin(self, run_command: RunCommand) -> None:
        await rows(
            "INSERT INTO django_session (session_key, session_data, expire_date) VALUES "
            "('over', '', now() - interval '1 day'), ('active', '', now() + interval '1 day') "
            "RETURNING session_key"
        )
        await run_command("clearsessions")

        assert await rows("SELECT session_key FROM django_session") == [("active",)]

    async def test_brings_no_session_back_to_life(
        self, exchange: Exchange, project: FakeSupabase, run_command: RunCommand
    ) -> None:
        sub, session_id = uuid4(), uuid4()
        user = await factories.make_user(supabase_id=sub)
        long_ago = datetime.now(UTC) - timedelta(days=300)
        await factories.make_session(
            user,
            lifetime=-timedelta(days=270),
            revoked_at=long_ago,
            supabase_session_id=session_id,
        )
        await run_command("clearsessions")

        token = project.token(sub=str(sub), session_id=str(session_id))
        assert (await exchange(token)).status_code == 401
