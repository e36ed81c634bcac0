"""Many who post to /auth/token at once, for one user, one session or one email."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from psycopg.errors import UniqueViolation

from accounts import statements
from tests.accounts.conftest import USERS, Exchange, rows
from tests.fakes import FakeSupabase


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
