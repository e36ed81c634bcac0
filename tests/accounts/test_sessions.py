"""The contract of /auth/me, /auth/sessions/ and the two ways to log out."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from accounts import statements
from megapolis import database
from tests import factories
from tests.accounts.conftest import rows
from tests.conftest import MakeClient

INVALID = 'Bearer error="invalid_token"'
MANY_SESSIONS = """
    INSERT INTO accounts_apisession (user_id, expires_at)
    SELECT $1::bigint, now() + interval '1 day' FROM generate_series(1, 1000)
"""
"""Of a few, the planner may well read all that have not expired."""


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def session_of(client: httpx.AsyncClient) -> int:
    """Return the id of the session in which the client is signed in."""
    items = (await client.get("/auth/sessions/")).json()["items"]
    return next(int(row["id"]) for row in items if row["is_current"])


IN_FORCE = "SELECT user_id FROM accounts_apisession WHERE revoked_at IS NULL"


class TestGetMe:
    async def test_returns_the_user(
        self, client: httpx.AsyncClient, user: factories.UserRow
    ) -> None:
        me = (await client.get("/auth/me")).json()

        assert (me["id"], me["email"], me["is_staff"]) == (user.id, user.email, False)
        assert datetime.fromisoformat(me["created_at"]).utcoffset() == timedelta(0)

    async def test_answers_401_to_a_user_who_is_deleted_meanwhile(
        self, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def find_nobody(**values: Any) -> None:
            return None

        monkeypatch.setattr(statements.find_user, "one_or_none", find_nobody)
        response = await client.get("/auth/me")

        assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, INVALID)


class TestListSessions:
    async def test_shows_where_the_user_is_signed_in_and_marks_this_client(
        self, make_client: MakeClient, user: factories.UserRow
    ) -> None:
        client = await make_client(user)
        other = await factories.make_session(user)
        answer = (await client.get("/auth/sessions/")).json()

        assert answer.keys() == {"items", "next_cursor"}
        assert answer["next_cursor"] is None
        assert [row["is_current"] for row in answer["items"]] == [False, True]
        assert answer["items"][0]["id"] == other.id
        assert answer["items"][0].keys() == {
            *("id", "created_at", "last_seen_at", "expires_at", "is_current")
        }

    async def test_shows_active_sessions_of_this_user_only(
        self, client: httpx.AsyncClient, user: factories.UserRow
    ) -> None:
        await factories.make_session(user, revoked_at=datetime.now(UTC))
        await factories.make_session(user, lifetime=timedelta(seconds=-1))
        await factories.make_session(await factories.make_user())

        items = (await client.get("/auth/sessions/")).json()["items"]
        assert [row["is_current"] for row in items] == [True]

    async def test_is_paged_from_the_newest_to_the_oldest(
        self, client: httpx.AsyncClient, user: factories.UserRow
    ) -> None:
        ids = [await session_of(client)]
        ids += [(await factories.make_session(user)).id for _ in range(4)]
        pages: list[list[int]] = []
        cursor = None
        while cursor or not pages:
            params: dict[str, Any] = {"limit": 2} | ({"cursor": cursor} if cursor else {})
            answer = (await client.get("/auth/sessions/", params=params)).json()
            pages.append([row["id"] for row in answer["items"]])
            cursor = answer["next_cursor"]

        assert pages == [[ids[4], ids[3]], [ids[2], ids[1]], [ids[0]]]

    @pytest.mark.parametrize(
        "params",
        [
            *[{"limit": limit} for limit in ("0", "101", "-1", "1.5", "x", "9" * 30)],
            *[{"cursor": cursor} for cursor in ("", "x", "W10", "WyJ3aWRnZXRzIiwxXQ", "é", "\0")],
            {"unknown": "1"},
        ],
    )
    async def test_refuses_what_it_does_not_know(
        self, client: httpx.AsyncClient, params: dict[str, str]
    ) -> None:
        response = await client.get("/auth/sessions/", params=params)
        assert response.status_code == 422


class TestEndSession:
    async def test_signs_the_other_client_out_and_no_other(
        self, make_client: MakeClient, user: factories.UserRow
    ) -> None:
        clients = [await make_client(user) for _ in range(3)]
        response = await clients[0].delete(f"/auth/sessions/{await session_of(clients[1])}")

        assert (response.status_code, response.content) == (204, b"")
        statuses = [(await client.get("/auth/me")).status_code for client in clients]
        assert statuses == [200, 401, 200]

    async def test_may_be_this_very_session(self, client: httpx.AsyncClient) -> None:
        path = f"/auth/sessions/{await session_of(client)}"
        assert (await client.delete(path)).status_code == 204
        assert (await client.get("/auth/me")).status_code == 401

    async def test_is_404_the_second_time(
        self, client: httpx.AsyncClient, user: factories.UserRow
    ) -> None:
        session = await factories.make_session(user)
        responses = [await client.delete(f"/auth/sessions/{session.id}") for _ in range(2)]

        assert [response.status_code for response in responses] == [204, 404]
        assert responses[1].json()["detail"] == "Session not found"

    async def test_of_another_user_is_404_and_goes_on(
        self, staff_client: httpx.AsyncClient, make_client: MakeClient
    ) -> None:
        other = await make_client(await factories.make_user())

        path = f"/auth/sessions/{await session_of(other)}"
        assert (await staff_client.delete(path)).status_code == 404
        assert (await other.get("/auth/me")).status_code == 200

    async def test_that_has_expired_is_ended_for_good(
        self, client: httpx.AsyncClient, user: factories.UserRow
    ) -> None:
        """The next exchange of its Supabase session would prolong it."""
        session = await factories.make_session(user, lifetime=timedelta(seconds=-1))
        path = f"/auth/sessions/{session.id}"

        assert [(await client.delete(path)).status_code for _ in range(2)] == [204, 404]

    @pytest.mark.parametrize("number", ["0", "-1", "9223372036854775808", "9" * 30, "x", "1.0"])
    async def test_refuses_what_is_no_id(self, client: httpx.AsyncClient, number: str) -> None:
        assert (await client.delete(f"/auth/sessions/{number}")).status_code in {404, 422}

    async def test_that_there_cannot_be_is_404(self, client: httpx.AsyncClient) -> None:
        assert (await client.delete(f"/auth/sessions/{2**63 - 1}")).status_code == 404


class TestLogout:
    async def test_ends_this_session_only(
        self, make_client: MakeClient, user: factories.UserRow
    ) -> None:
        clients = [await make_client(user) for _ in range(2)]
        response = await clients[0].post("/auth/logout")

        assert (response.status_code, response.content) == (204, b"")
        assert [(await client.get("/auth/me")).status_code for client in clients] == [401, 200]

    async def test_may_be_asked_for_twice_at_once(
        self, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Both requests are authenticated before either ends the session."""
        find, found = statements.find_current_user.one_or_none, asyncio.Barrier(2)

        async def find_together(**values: Any) -> Any:
            user = await find(**values)
            await found.wait()
            return user

        monkeypatch.setattr(statements.find_current_user, "one_or_none", find_together)
        responses = await asyncio.gather(*(client.post("/auth/logout") for _ in range(2)))

        assert [response.status_code for response in responses] == [204, 204]

    async def test_keeps_the_moment_of_the_end(
        self, make_client: MakeClient, user: factories.UserRow
    ) -> None:
        clients = [await make_client(user) for _ in range(2)]
        await clients[0].post("/auth/logout")
        revoked_at = "SELECT revoked_at FROM accounts_apisession ORDER BY id LIMIT 1"
        ended = await rows(revoked_at)
        await clients[1].post("/auth/logout-everywhere")

        assert await rows(revoked_at) == ended


class TestLogoutEverywhere:
    async def test_ends_every_session_of_this_user_only(
        self, make_client: MakeClient, user: factories.UserRow
    ) -> None:
        clients = [await make_client(user) for _ in range(3)]
        clients.append(await make_client(await factories.make_user()))
        response = await clients[1].post("/auth/logout-everywhere")

        assert (response.status_code, response.content) == (204, b"")
        statuses = [(await client.get("/auth/me")).status_code for client in clients]
        assert statuses == [401, 401, 401, 200]


class TestEachRequest:
    """A token is only as good as its rows are at this moment."""

    @pytest.mark.parametrize(
        "change",
        [
            "UPDATE accounts_apisession SET revoked_at = now() RETURNING id",
            "UPDATE accounts_apisession SET revoked_at = now() + interval '1 day' RETURNING id",
            "UPDATE accounts_apisession SET expires_at = now() RETURNING id",
            "DELETE FROM accounts_apisession RETURNING id",
            "UPDATE accounts_user SET is_active = false RETURNING id",
        ],
    )
    async def test_is_refused_as_soon_as_the_rows_say_so(
        self, client: httpx.AsyncClient, change: str
    ) -> None:
        assert (await client.get("/auth/me")).status_code == 200
        assert len(await rows(change)) == 1

        for path in ("/auth/me", "/auth/sessions/", "/widgets/"):
            response = await client.get(path)
            assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, INVALID)
            assert response.headers["Content-Type"] == "application/problem+json"

    async def test_is_refused_after_the_user_was_deleted(self, client: httpx.AsyncClient) -> None:
        async with database.transaction():
            await rows("DELETE FROM accounts_apisession RETURNING id")
            await rows("DELETE FROM accounts_user RETURNING id")

        assert (await client.get("/auth/me")).status_code == 401

    async def test_says_what_the_rows_say_and_not_what_the_token_says(
        self, client: httpx.AsyncClient
    ) -> None:
        await rows("UPDATE accounts_user SET is_staff = true, email = 'new@example.com'")

        me = (await client.get("/auth/me")).json()
        assert (me["is_staff"], me["email"]) == (True, "new@example.com")

    async def test_belongs_to_the_user_of_the_session(
        self, anonymous: httpx.AsyncClient, user: factories.UserRow
    ) -> None:
        other = await factories.make_user()
        session = await factories.make_session(other)
        token = await factories.make_token(user, session)

        assert (await anonymous.get("/auth/me", headers=bearer(token))).status_code == 401

    async def test_asks_the_database_once_who_it_is(
        self, client: httpx.AsyncClient, queries: list[bytes]
    ) -> None:
        assert (await client.get("/widgets/7")).status_code == 404

        identity, feature = queries
        assert identity == statements.find_current_user.compiled.sql
        assert b"widgets_widget" in feature
        assert b"accounts" not in feature

    async def test_asks_for_all_who_come_at_once_and_mixes_nobody_up(
        self, db: None, make_client: MakeClient, queries: list[bytes]
    ) -> None:
        users = [await factories.make_user() for _ in range(20)]
        clients = [await make_client(user) for user in users]
        await rows("UPDATE accounts_apisession SET revoked_at = now() WHERE id % 3 = 0")
        in_force = {user_id for (user_id,) in await rows(IN_FORCE)}
        queries.clear()
        responses = await asyncio.gather(*(client.get("/auth/me") for client in clients))

        statuses = [200 if user.id in in_force else 401 for user in users]
        assert [response.status_code for response in responses] == statuses
        assert len(set(statuses)) == 2
        answered = [response.json().get("id") for response in responses]
        assert answered == [user.id if user.id in in_force else None for user in users]
        assert queries.count(statements.find_current_user.compiled.sql) == len(users)

    async def test_asks_by_one_prepared_statement_that_uses_the_keys(
        self, client: httpx.AsyncClient, user: factories.UserRow
    ) -> None:
        sql = statements.find_current_user.compiled.sql
        (key,) = (await rows("SELECT key::text FROM accounts_apisession"))[0]
        await rows(MANY_SESSIONS, (await factories.make_user()).id)
        await rows("ANALYZE accounts_apisession")
        async with database.transaction():
            await statements.find_current_user.one(session_key=key)
            prepared = await rows(
                "SELECT parameter_types::text FROM pg_prepared_statements WHERE statement = $1",
                sql.decode(),
            )
            await rows("SET LOCAL enable_seqscan = off")
            plan = await rows(f"EXPLAIN {sql.decode()}", [key])

        assert prepared == [("{uuid}",)]
        scans = " ".join(line for (line,) in plan if "Scan" in line)
        assert "accounts_user_pkey" in scans
        assert "session_key" in scans
        assert "Seq Scan" not in scans
