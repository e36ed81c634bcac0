"""Whom POST /auth/token refuses, though the request is in order: by email, person, session."""

import asyncio
from contextvars import Context
from typing import Any
from uuid import uuid4

import httpx
import pytest

from accounts import statements, tokens
from megapolis import database
from tests import factories
from tests.accounts.conftest import SESSIONS, Exchange, rows, same_session, table_rows
from tests.conftest import RunCommand
from tests.fakes import KEYS_PATH, FakeSupabase, Mood
from tests.waiting import eventually, eventually_equals

EXPIRE = """
    UPDATE accounts_apisession SET expires_at = now() - $1::text::interval
    WHERE id = (SELECT min(id) FROM accounts_apisession) RETURNING id
"""
WAITING = """
    SELECT count(*) FROM pg_locks
    WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))
"""
OTHER_SPELLINGS = [
    "ada@example.com",
    "ADA@EXAMPLE.COM",
    "Ada@Example.com",
    "\uff21\uff24\uff21@example.com",
    "\u24d0da@example.com",
    "ada@\uff45xample.com",
    "ada@examp\u217ce.com",
]


class TestTakenEmail:
    """Of two users with one email the later one is refused, and nothing at all changes."""

    @pytest.mark.parametrize("email", OTHER_SPELLINGS)
    async def test_is_refused_in_every_spelling(
        self, exchange: Exchange, project: FakeSupabase, email: str
    ) -> None:
        await exchange(project.token(email="ada@example.com"))
        before = await table_rows()
        metadata = {"email": email, "email_verified": True}
        response = await exchange(project.token(email=email, user_metadata=metadata))

        assert response.status_code == 409
        assert response.headers["Content-Type"] == "application/problem+json"
        assert response.json()["detail"] == "The email belongs to another user"
        assert await table_rows() == before

    async def test_is_refused_to_a_known_user_as_well(
        self, exchange: Exchange, project: FakeSupabase
    ) -> None:
        sub = str(uuid4())
        await exchange(project.token(email="ada@example.com"))
        await exchange(project.token(email="bob@example.com", sub=sub))
        before = await table_rows()

        assert (await exchange(project.token(email="ada@example.com", sub=sub))).status_code == 409
        assert await table_rows() == before

    async def test_of_staff_without_a_supabase_account_is_refused(
        self, exchange: Exchange, project: FakeSupabase
    ) -> None:
        await factories.make_user(email="ada@example.com", is_staff=True)
        before = await table_rows()

        assert (await exchange(project.token(email="ada@example.com"))).status_code == 409
        assert await table_rows() == before

    async def test_is_free_once_its_holder_has_another(
        self, exchange: Exchange, project: FakeSupabase
    ) -> None:
        sub = str(uuid4())
        await exchange(project.token(email="ada@example.com", sub=sub))
        await exchange(project.token(email="countess@example.com", sub=sub))

        assert (await exchange(project.token(email="ada@example.com"))).status_code == 200


class TestRefusal:
    async def test_of_a_deactivated_user_is_403(
        self, exchange: Exchange, project: FakeSupabase
    ) -> None:
        sub = uuid4()
        await factories.make_user(supabase_id=sub, is_active=False)
        response = await exchange(project.token(sub=str(sub)))

        assert (response.status_code, response.json()["title"]) == (403, "Forbidden")
        assert "access_token" not in response.text
        assert await rows(SESSIONS) == []

    @pytest.mark.parametrize("email", ["", "ada@example.com"])
    async def test_of_an_anonymous_user_is_403(
        self, exchange: Exchange, project: FakeSupabase, email: str
    ) -> None:
        response = await exchange(project.token(is_anonymous=True, email=email))

        assert response.status_code == 403
        assert await table_rows() == [[], []]

    @pytest.mark.parametrize("ending", ["/auth/logout", "/auth/logout-everywhere"])
    async def test_of_a_session_that_was_ended_here_is_for_good(
        self, exchange: Exchange, sign_in: Any, project: FakeSupabase, ending: str
    ) -> None:
        claims = same_session()
        client = await sign_in(project.token(**claims))
        await client.post(ending)

        for _ in range(2):
            response = await exchange(project.token(**claims))
            assert response.status_code == 401
            assert response.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
            assert response.json()["detail"] == "The session has ended"
        assert (await client.get("/auth/me")).status_code == 401
        new_session = project.token(sub=claims["sub"])
        assert (await exchange(new_session)).status_code == 200

    @pytest.mark.parametrize("ending", ["/auth/logout-everywhere", "/auth/sessions/{id}"])
    @pytest.mark.parametrize("age", ["1 second", "40 days", "364 days"])
    async def test_of_a_session_that_had_expired_before_it_was_ended_is_for_good(
        self, exchange: Exchange, sign_in: Any, project: FakeSupabase, ending: str, age: str
    ) -> None:
        """Whoever stole the Supabase session can go on refreshing it."""
        claims = same_session()
        await exchange(project.token(**claims))
        ((session_id,),) = await rows(EXPIRE, age)
        client = await sign_in(project.token(sub=claims["sub"]))
        url = ending.format(id=session_id)
        await client.request("DELETE" if "{" in ending else "POST", url)

        for _ in range(2):
            response = await exchange(project.token(**claims))
            assert response.status_code == 401
            assert response.json()["detail"] == "The session has ended"

    async def test_of_a_session_that_had_expired_outlasts_the_daily_cleaning(
        self, exchange: Exchange, sign_in: Any, project: FakeSupabase, run_command: RunCommand
    ) -> None:
        claims = same_session()
        await exchange(project.token(**claims))
        await rows(EXPIRE, "364 days")
        await run_command("clearsessions")
        client = await sign_in(project.token(sub=claims["sub"]))
        await client.post("/auth/logout-everywhere")
        await run_command("clearsessions")

        assert (await exchange(project.token(**claims))).status_code == 401

    async def test_is_no_concern_of_a_session_that_has_only_expired(
        self, exchange: Exchange, project: FakeSupabase, run_command: RunCommand
    ) -> None:
        claims = same_session()
        await exchange(project.token(**claims))
        await rows(EXPIRE, "40 days")
        await run_command("clearsessions")

        assert (await exchange(project.token(**claims))).status_code == 200

    async def test_does_not_slip_past_an_exchange_under_way(
        self, exchange: Exchange, sign_in: Any, project: FakeSupabase
    ) -> None:
        """The exchange prolongs an expired session, and has not committed when all are ended."""
        claims = same_session()
        await exchange(project.token(**claims))
        await rows(EXPIRE, "40 days")
        client = await sign_in(project.token(sub=claims["sub"]))
        async with database.transaction():
            ((user_id,),) = await rows("SELECT id FROM accounts_user")
            await statements.put_session.one(
                user_id=user_id,
                supabase_session_id=claims["session_id"],
                aal=1,
                expires_at=tokens.expiry(),
            )
            context = Context()
            ending = asyncio.create_task(client.post("/auth/logout-everywhere"), context=context)
            await eventually_equals(lambda: rows(WAITING), [(1,)])
        await ending

        assert await rows("SELECT count(*) FROM accounts_apisession WHERE revoked_at IS NULL") == [
            (0,)
        ]
        assert (await exchange(project.token(**claims))).status_code == 401

    @pytest.mark.parametrize("mood", ["error", "nothing", "garbage", "redirect", "oversized"])
    async def test_for_want_of_supabase_is_503(
        self, exchange: Exchange, project: FakeSupabase, queries: list[bytes], mood: Mood
    ) -> None:
        project.mood = mood
        response = await exchange(project.token())

        assert response.status_code == 503
        assert response.headers["Content-Type"] == "application/problem+json"
        assert 1 <= int(response.headers["Retry-After"]) <= 30
        assert queries == []

    async def test_for_want_of_supabase_keeps_nobody_else_waiting(
        self, exchange: Exchange, client: httpx.AsyncClient, project: FakeSupabase
    ) -> None:
        project.mood = "stall"
        exchanging = asyncio.ensure_future(exchange(project.token()))
        await eventually(lambda: project.requests)
        others = [(await client.get("/auth/me")).status_code for _ in range(50)]

        assert others == [200] * 50
        assert project.requests == [KEYS_PATH]
        assert not exchanging.done()
        project._released.set()
        assert (await exchanging).status_code == 503

    async def test_is_no_concern_of_known_keys(
        self, exchange: Exchange, project: FakeSupabase
    ) -> None:
        await exchange(project.token(email=""))
        project.mood = "error"

        assert (await exchange(project.token(email=""))).status_code == 200
