"""The contract of POST /auth/token, against a Supabase project on 127.0.0.1."""

from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.accounts.conftest import SESSIONS, USERS, Exchange, rows, same_session
from tests.fakes import FakeSupabase
from tests.signing import ABSENT


class TestFirstSignIn:
    async def test_creates_the_user_and_answers_a_token_that_works(
        self, exchange: Exchange, project: FakeSupabase, anonymous: httpx.AsyncClient
    ) -> None:
        sub = str(uuid4())
        response = await exchange(project.token(sub=sub, email="Ada@Example.com"))

        answer = response.json()
        assert response.status_code == 200
        assert response.headers["Content-Type"] == "application/json"
        assert response.headers["Cache-Control"] == "no-store"
        assert answer.keys() == {"access_token", "token_type", "expires_in"}
        assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 30 * 24 * 60 * 60)
        headers = {"Authorization": f"Bearer {answer['access_token']}"}
        me = (await anonymous.get("/auth/me", headers=headers)).json()
        assert me.keys() == {"id", "email", "supabase_id", "is_staff", "created_at"}
        assert (me["email"], me["supabase_id"], me["is_staff"]) == ("ada@example.com", sub, False)

    async def test_takes_no_privilege_from_the_metadata(
        self, sign_in: Any, project: FakeSupabase
    ) -> None:
        powers: dict[str, Any] = {"is_staff": True, "is_superuser": True}
        token = project.token(user_metadata=powers, app_metadata=powers, **powers)
        client = await sign_in(token)

        assert (await client.get("/auth/me")).json()["is_staff"] is False
        assert await rows("SELECT is_superuser FROM accounts_user") == [(False,)]

    @pytest.mark.parametrize("email", ["", ABSENT])
    async def test_needs_no_email(self, sign_in: Any, project: FakeSupabase, email: object) -> None:
        clients = [await sign_in(project.token(email=email, phone="4912345")) for _ in range(2)]

        found = [(await client.get("/auth/me")).json() for client in clients]
        assert [me["email"] for me in found] == [None, None]
        assert found[0]["id"] != found[1]["id"]

    @pytest.mark.parametrize("algorithm", ["ES256", "RS256", "EdDSA"])
    async def test_takes_every_kind_of_key(
        self, exchange: Exchange, project: FakeSupabase, algorithm: str
    ) -> None:
        assert (await exchange(project.token(project.key(algorithm)))).status_code == 200

    async def test_asks_the_auth_server_about_a_legacy_token(
        self, exchange: Exchange, project: FakeSupabase
    ) -> None:
        token = project.legacy_token(sub=(sub := str(uuid4())))
        assert (await exchange(token)).status_code == 200
        ((session_id,),) = await rows(SESSIONS)
        project.signed_out.add(session_id)
        assert (await exchange(token)).status_code == 401
        assert await rows(USERS) == [(sub, "ada@example.com")]


class TestKnownUser:
    @pytest.mark.parametrize(
        ("email", "stored"),
        [("Countess@Example.com", "countess@example.com"), ("", None), (ABSENT, None)],
    )
    async def test_has_the_email_refreshed(
        self, exchange: Exchange, project: FakeSupabase, email: object, stored: str | None
    ) -> None:
        sub = str(uuid4())
        await exchange(project.token(sub=sub, email="ada@example.com"))
        await exchange(project.token(sub=sub, email=email))

        assert await rows(USERS) == [(sub, stored)]

    @pytest.mark.parametrize("email", ["ada@example.com", ""])
    async def test_is_updated_by_another_email_and_not_by_being_seen(
        self, exchange: Exchange, project: FakeSupabase, email: str
    ) -> None:
        sub = str(uuid4())
        await exchange(project.token(sub=sub, email=email))
        await rows(
            "UPDATE accounts_user SET updated_at = 'epoch', last_seen_at = 'epoch' RETURNING id"
        )
        dates = "SELECT updated_at > 'epoch', last_seen_at > 'epoch' FROM accounts_user"
        await exchange(project.token(sub=sub, email=email))
        assert await rows(dates) == [(False, True)]
        await exchange(project.token(sub=sub, email="countess@example.com"))
        assert await rows(dates) == [(True, True)]

    async def test_keeps_one_session_for_one_of_supabase(
        self, exchange: Exchange, project: FakeSupabase
    ) -> None:
        sub, *session_ids = (str(uuid4()) for _ in range(3))
        for session_id in session_ids * 12:
            response = await exchange(project.token(sub=sub, session_id=session_id))
            assert response.status_code == 200

        assert await rows(SESSIONS) == [(session_id,) for session_id in session_ids]

    async def test_may_go_on_with_the_token_of_an_earlier_exchange(
        self, sign_in: Any, project: FakeSupabase
    ) -> None:
        claims = same_session()
        clients = [await sign_in(project.token(**claims)) for _ in range(2)]

        assert [(await client.get("/auth/me")).status_code for client in clients] == [200, 200]

    async def test_has_the_session_prolonged(
        self, exchange: Exchange, project: FakeSupabase
    ) -> None:
        claims = same_session()
        await exchange(project.token(**claims))
        await rows(
            "UPDATE accounts_apisession SET expires_at = now(), last_seen_at = 'epoch' RETURNING id"
        )
        await exchange(project.token(**claims))

        assert await rows(
            "SELECT expires_at > now() + interval '29 days', last_seen_at > 'epoch' "
            "FROM accounts_apisession"
        ) == [(True, True)]

    async def test_shares_no_session_with_another_user(
        self, sign_in: Any, project: FakeSupabase
    ) -> None:
        session_id = str(uuid4())
        emails = ["ada@example.com", "bob@example.com"]
        clients = [await sign_in(project.token(session_id=session_id, email=e)) for e in emails]

        await clients[0].post("/auth/logout")
        assert (await clients[1].get("/auth/me")).json()["email"] == "bob@example.com"
