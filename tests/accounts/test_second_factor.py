"""SUPABASE_REQUIRE_AAL2: who must sign in with a second factor."""

from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from django.core.management import CommandError

from megapolis import environment
from tests import factories
from tests.accounts.conftest import SESSIONS, Exchange, rows, same_session, table_rows
from tests.accounts.test_sessions import INVALID
from tests.conftest import MakeClient, RunCommand
from tests.fakes import USER_PATH, FakeSupabase
from tests.signing import ABSENT

NOT_AAL2: list[object] = [
    *["aal1", ABSENT, None, "", "aal3", "AAL2", "aal2 ", "aal", "2", 2, True, ["aal2"]],
    {"aal": "aal2"},
]
NEEDS = "A second factor is required: complete it at Supabase, then exchange the new token"
LEVELS = "SELECT aal FROM accounts_apisession ORDER BY id"
PATHS = ("/auth/me", "/auth/sessions/", "/widgets/")


@pytest.fixture
def require(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`require("staff")` sets the variable."""
    return lambda value: monkeypatch.setattr(environment, "SUPABASE_REQUIRE_AAL2", value)


@pytest.fixture
def development(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(environment, "ENVIRONMENT", "development")
    monkeypatch.setattr(environment, "BASE_DIR", tmp_path)


async def make_staff(sub: str) -> factories.UserRow:
    return await factories.make_user(supabase_id=UUID(sub), is_staff=True)


async def make_superuser(sub: str) -> factories.UserRow:
    user = await factories.make_user(supabase_id=UUID(sub))
    await rows("UPDATE accounts_user SET is_superuser = true WHERE id = $1", user.id)
    return user


class TestExchange:
    @pytest.mark.parametrize("aal", NOT_AAL2)
    async def test_of_one_factor_is_accepted_where_nobody_asks_for_more(
        self, exchange: Exchange, project: FakeSupabase, aal: object
    ) -> None:
        assert environment.SUPABASE_REQUIRE_AAL2 == "off"
        assert (await exchange(project.token(aal=aal))).status_code == 200
        assert await rows(LEVELS) == [(1,)]

    @pytest.mark.parametrize("aal", NOT_AAL2)
    async def test_of_one_factor_is_rejected_where_all_need_two(
        self, exchange: Exchange, project: FakeSupabase, require: Any, aal: object
    ) -> None:
        require("all")
        response = await exchange(project.token(aal=aal))

        assert (response.status_code, response.json()["detail"]) == (403, NEEDS)
        assert response.headers["Content-Type"] == "application/problem+json"
        assert await table_rows() == [[], []]

    @pytest.mark.parametrize("make", [make_staff, make_superuser])
    @pytest.mark.parametrize("aal", NOT_AAL2)
    async def test_of_one_factor_is_rejected_where_staff_need_two(
        self, exchange: Exchange, project: FakeSupabase, require: Any, aal: object, make: Any
    ) -> None:
        require("staff")
        claims = same_session()
        await make(claims["sub"])
        response = await exchange(project.token(**claims, aal=aal))

        assert (response.status_code, response.json()["detail"]) == (403, NEEDS)
        assert await rows(SESSIONS) == []

    async def test_of_one_factor_is_accepted_of_an_ordinary_user_where_staff_need_two(
        self, exchange: Exchange, project: FakeSupabase, require: Any
    ) -> None:
        require("staff")
        claims = same_session()
        responses = [await exchange(project.token(**claims)) for _ in range(2)]
        assert [response.status_code for response in responses] == [200, 200]

    @pytest.mark.parametrize("required", ["off", "staff", "all"])
    async def test_of_two_factors_is_accepted_of_everybody(
        self, sign_in: Any, project: FakeSupabase, require: Any, required: str
    ) -> None:
        require(required)
        staff = same_session()
        await make_staff(staff["sub"])
        for claims in (staff, same_session() | {"email": "bea@example.com"}):
            client = await sign_in(project.token(**claims, aal="aal2"))
            assert (await client.get("/auth/me")).status_code == 200
        assert await rows(LEVELS) == [(2,), (2,)]

    async def test_after_the_second_factor_goes_on_with_the_session(
        self, exchange: Exchange, sign_in: Any, project: FakeSupabase, require: Any
    ) -> None:
        claims = same_session()
        client = await sign_in(project.token(**claims))
        require("all")
        assert (await client.get("/auth/me")).status_code == 401
        assert (await exchange(project.token(**claims))).status_code == 403
        await exchange(project.token(**claims, aal="aal2"))

        assert await rows(SESSIONS) == [(claims["session_id"],)]
        assert (await client.get("/auth/me")).status_code == 200

    async def test_of_a_legacy_token_is_judged_alike(
        self, exchange: Exchange, project: FakeSupabase, require: Any
    ) -> None:
        """The Auth server says that the token is good, and the token which level it has."""
        require("all")
        for aal, status in (("aal1", 403), ("aal2", 200)):
            assert (await exchange(project.legacy_token(aal=aal))).status_code == status
        assert project.count(USER_PATH) == 2

    async def test_of_a_deactivated_user_says_so(
        self, exchange: Exchange, project: FakeSupabase, require: Any
    ) -> None:
        require("staff")
        claims = same_session()
        await factories.make_user(supabase_id=UUID(claims["sub"]), is_staff=True, is_active=False)
        response = await exchange(project.token(**claims))
        assert response.json()["detail"] == "The user is deactivated"


class TestRunningSession:
    async def test_of_one_factor_is_rejected_from_the_switch_on(
        self, make_client: MakeClient, user: factories.UserRow, require: Any
    ) -> None:
        client = await make_client(user)
        staff = await make_client(await factories.make_user(is_staff=True))
        for required, statuses in (("off", [200, 200]), ("staff", [200, 401]), ("all", [401, 401])):
            require(required)
            for path in PATHS:
                responses = [await who.get(path) for who in (client, staff)]
                assert [response.status_code for response in responses] == statuses
                for response in responses:
                    if response.status_code == 401:
                        assert response.headers["WWW-Authenticate"] == INVALID

    @pytest.mark.parametrize("right", ["is_staff", "is_superuser"])
    async def test_of_one_factor_is_rejected_once_its_user_is_promoted(
        self, client: httpx.AsyncClient, require: Any, right: str
    ) -> None:
        require("staff")
        assert (await client.get("/auth/me")).status_code == 200
        await rows(f"UPDATE accounts_user SET {right} = true")
        assert (await client.get("/auth/me")).status_code == 401
        assert (await client.post("/auth/logout-everywhere")).status_code == 401
        await rows(f"UPDATE accounts_user SET {right} = false")
        assert (await client.get("/auth/me")).status_code == 200

    @pytest.mark.parametrize("required", ["staff", "all"])
    async def test_is_rejected_once_supabase_says_that_the_factor_was_removed(
        self, exchange: Exchange, sign_in: Any, project: FakeSupabase, require: Any, required: str
    ) -> None:
        require(required)
        claims = same_session()
        await make_staff(claims["sub"])
        client = await sign_in(project.token(**claims, aal="aal2"))
        assert (await exchange(project.token(**claims))).status_code == 403

        assert (await client.get("/auth/me")).status_code == 401

    async def test_has_the_level_of_the_last_exchange(
        self, exchange: Exchange, project: FakeSupabase
    ) -> None:
        claims = same_session()
        for aal, level in (("aal1", 1), ("aal2", 2), ("aal1", 1)):
            await exchange(project.token(**claims, aal=aal))
            assert await rows(LEVELS) == [(level,)]

    async def test_of_another_user_keeps_its_level_when_one_is_rejected(
        self, exchange: Exchange, project: FakeSupabase, require: Any
    ) -> None:
        claims = same_session()
        others = [
            {"sub": claims["sub"], "session_id": str(uuid4())},
            {"sub": str(uuid4()), "session_id": claims["session_id"], "email": ""},
        ]
        for session in (claims, *others):
            await exchange(project.token(**session, aal="aal2"))
        require("all")
        assert (await exchange(project.token(**claims))).status_code == 403

        assert await rows(LEVELS) == [(1,), (2,), (2,)]


class TestCommands:
    @pytest.mark.parametrize(
        ("required", "arguments"),
        [
            ("staff", ("bea@example.com", "--staff")),
            ("staff", ("staff@example.com",)),
            ("all", ("bea@example.com",)),
            ("all", ("bea@example.com", "--staff")),
            ("all", ("staff@example.com",)),
        ],
    )
    async def test_print_no_token_that_would_be_rejected(
        self, run_command: RunCommand, require: Any, required: str, arguments: tuple[str, ...]
    ) -> None:
        await factories.make_user(email="staff@example.com", is_staff=True)
        before = await table_rows()
        require(required)
        with pytest.raises(CommandError, match=r"^SUPABASE_REQUIRE_AAL2 requires a second factor"):
            await run_command("token", *arguments)

        assert await table_rows() == before

    async def test_print_a_token_of_an_ordinary_user_where_staff_need_two_factors(
        self, run_command: RunCommand, make_client: MakeClient, require: Any
    ) -> None:
        require("staff")
        printed = await run_command("token", "bea@example.com")
        client = await make_client(headers={"Authorization": f"Bearer {printed.strip()}"})
        assert (await client.get("/auth/me")).status_code == 200

    @pytest.mark.usefixtures("development")
    async def test_print_a_supabase_token_with_two_factors_in_development(
        self, exchange: Exchange, run_command: RunCommand, require: Any
    ) -> None:
        require("all")
        for options, status in (((), 403), (("--aal2",), 200)):
            token = await run_command("supabase_token", "ada@example.com", *options)
            assert (await exchange(token.strip())).status_code == status
