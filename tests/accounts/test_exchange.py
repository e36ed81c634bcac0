"""The contract of POST /auth/token, against a Supabase project on 127.0.0.1."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from psycopg.errors import UniqueViolation

from accounts import statements
from tests import factories
from tests.accounts.conftest import Exchange, rows, table_rows
from tests.fakes import KEYS_PATH, FakeSupabase, Mood
from tests.signing import ABSENT
from tests.waiting import eventually

USERS = "SELECT supabase_id::text, email FROM accounts_user ORDER BY id"
SESSIONS = "SELECT supabase_session_id::text FROM accounts_apisession ORDER BY id"
OTHER_SPELLINGS = [
    "ada@example.com",
    "ADA@EXAMPLE.COM",
    "Ada@Example.com",
    "\uff21\uff24\uff21@example.com",
    "\u24d0da@example.com",
    "ada@\uff45xample.com",
    "ada@examp\u217ce.com",
]


def same_session() -> dict[str, Any]:
    """Claims of one user in one session."""
    return {"sub": str(uuid4()), "session_id": str(uuid4())}


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


class TestRequest:
    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({}, "/body/access_token"),
            ({"access_token": ""}, "/body/access_token"),
            ({"access_token": None}, "/body/access_token"),
            ({"access_token": 1}, "/body/access_token"),
            ({"access_token": ["eyJ"]}, "/body/access_token"),
            ({"access_token": "eyJ", "refresh_token": "secret"}, "/body/refresh_token"),
            (["eyJ"], "/body"),
        ],
    )
    async def test_of_another_shape_is_422(
        self, exchange: Exchange, anonymous: httpx.AsyncClient, body: object, pointer: str
    ) -> None:
        response = await anonymous.post("/auth/token", json=body)

        assert response.status_code == 422
        assert response.headers["Content-Type"] == "application/problem+json"
        assert [error["pointer"] for error in response.json()["errors"]] == [pointer]
        assert "eyJ" not in response.text
        assert "secret" not in response.text

    async def test_that_is_no_json_is_refused(
        self, exchange: Exchange, anonymous: httpx.AsyncClient
    ) -> None:
        form = await anonymous.post("/auth/token", data={"access_token": "eyJ"})
        text = await anonymous.post(
            "/auth/token", content=b"eyJ", headers={"Content-Type": "application/json"}
        )
        assert (form.status_code, text.status_code) == (415, 400)

    @pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
    async def test_by_another_method_is_405(
        self, anonymous: httpx.AsyncClient, method: str
    ) -> None:
        response = await anonymous.request(method, "/auth/token")

        assert response.status_code == 405
        assert response.headers["Allow"] == "OPTIONS, POST"

    async def test_over_16_kib_is_413(
        self, exchange: Exchange, anonymous: httpx.AsyncClient
    ) -> None:
        response = await exchange("x" * 16 * 1024)

        assert response.status_code == 413
        assert response.headers["Content-Type"] == "application/problem+json"

    async def test_over_16_kib_is_413_before_the_rest_has_come(
        self, exchange: Exchange, anonymous: httpx.AsyncClient
    ) -> None:
        taken: list[int] = []

        async def stream() -> AsyncIterator[bytes]:
            for number in range(1000):
                taken.append(number)
                yield b"x" * 1024

        response = await anonymous.post("/auth/token", content=stream())

        assert response.status_code == 413
        assert len(taken) == 17

    async def test_of_16_kib_is_read(
        self, exchange: Exchange, anonymous: httpx.AsyncClient
    ) -> None:
        response = await exchange("x" * (16 * 1024 - len('{"access_token":""}')))
        assert response.status_code == 401


class TestAtOnce:
    async def test_fifty_first_sign_ins_of_one_person_make_one_user(
        self, exchange: Exchange, project: FakeSupabase
    ) -> None:
        for number in range(1, 6):
            sub, email = str(uuid4()), f"ada{number}@example.com"
            tokens = [project.token(sub=sub, email=email) for _ in range(50)]
            responses = await asyncio.gather(*map(exchange, tokens))

            assert [response.status_code for response in responses] == [200] * 50
            assert await rows("SELECT count(*) FROM accounts_user") == [(number,)]
            assert await rows("SELECT count(*) FROM accounts_apisession") == [(number * 50,)]

    async def test_a_first_sign_in_that_lost_the_race_for_the_email_is_tried_again(
        self, exchange: Exchange, project: FakeSupabase, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """About one in a hundred does: the winner's email is seen before its identity."""
        put_user, failures = statements.put_user.one, [UniqueViolation()]

        async def put_user_losing_once(**values: Any) -> Any:
            if failures:
                raise failures.pop()
            return await put_user(**values)

        monkeypatch.setattr(statements.put_user, "one", put_user_losing_once)

        assert (await exchange(project.token())).status_code == 200
        assert failures == []

    async def test_fifty_exchanges_of_one_session_make_one_session(
        self, exchange: Exchange, project: FakeSupabase
    ) -> None:
        responses = await asyncio.gather(*map(exchange, [project.token()] * 50))

        assert [response.status_code for response in responses] == [200] * 50
        assert await rows("SELECT count(*) FROM accounts_apisession") == [(1,)]

    async def test_one_of_two_people_gets_the_email_that_both_have(
        self, exchange: Exchange, project: FakeSupabase
    ) -> None:
        for number in range(5):
            email = f"ada{number}@example.com"
            tokens = [project.token(email=email) for _ in range(2)]
            responses = await asyncio.gather(*map(exchange, tokens))

            assert sorted(response.status_code for response in responses) == [200, 409]
        assert await rows("SELECT count(*) FROM accounts_user") == [(5,)]

    async def test_people_who_swap_their_emails_are_told_so_or_to_come_again(
        self, exchange: Exchange, project: FakeSupabase
    ) -> None:
        """Each may wait for the other's email: a deadlock, which PostgreSQL ends."""
        emails = ["ada@example.com", "bob@example.com"]
        subs = [str(uuid4()), str(uuid4())]
        for sub, email in zip(subs, emails, strict=True):
            await exchange(project.token(sub=sub, email=email))
        before = await rows(USERS)
        tokens = [
            project.token(sub=sub, email=email)
            for sub, email in zip(subs, reversed(emails), strict=True)
        ]
        responses = await asyncio.gather(*map(exchange, tokens * 5))

        assert {response.status_code for response in responses} <= {409, 503}
        assert await rows(USERS) == before
