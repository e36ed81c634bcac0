import asyncio
import threading
from uuid import UUID, uuid4

import httpx
import pytest

from accounts.supabase.identity import (
    ForbiddenIdentity,
    InvalidSupabaseToken,
    Rejection,
    SupabaseUnavailable,
)
from accounts.supabase.legacy import LegacyTokens
from tests.fakes import BAD_ANSWERS, ELSEWHERE, USER_PATH, FakeSupabase, Mood

USER = UUID("2f1b3c4d-5e6f-4a7b-8c9d-0e1f2a3b4c5d")


@pytest.fixture
def tokens(project: FakeSupabase, http: httpx.AsyncClient) -> LegacyTokens:
    return LegacyTokens(url=project.url, api_key=project.secret_key, http=http)


@pytest.fixture
def impatient(project: FakeSupabase, http: httpx.AsyncClient) -> LegacyTokens:
    return LegacyTokens(url=project.url, api_key=project.secret_key, http=http, timeout=0.05)


async def refusal(tokens: LegacyTokens, token: str, user_id: UUID = USER) -> Rejection:
    with pytest.raises(Rejection) as caught:
        await tokens.confirm(token, user_id=user_id)
    assert caught.value.__context__ is None
    return caught.value


class TestConfirm:
    async def test_is_silent_for_a_token_that_auth_knows(
        self, tokens: LegacyTokens, project: FakeSupabase
    ) -> None:
        await tokens.confirm(project.legacy_token(sub=str(USER)), user_id=USER)
        await tokens.confirm(project.token(sub=str(USER)), user_id=USER)
        assert project.requests == [USER_PATH] * 2

    async def test_refuses_the_token_of_another_user(
        self, tokens: LegacyTokens, project: FakeSupabase
    ) -> None:
        token = project.legacy_token(sub=str(uuid4()))
        assert isinstance(await refusal(tokens, token), InvalidSupabaseToken)

    async def test_refuses_a_forged_token(
        self, tokens: LegacyTokens, project: FakeSupabase
    ) -> None:
        token = project.legacy_token(sub=str(USER))[:-4] + "AAAA"
        assert isinstance(await refusal(tokens, token), InvalidSupabaseToken)

    async def test_refuses_an_ended_session(
        self, tokens: LegacyTokens, project: FakeSupabase
    ) -> None:
        session = str(uuid4())
        token = project.legacy_token(sub=str(USER), session_id=session)
        await tokens.confirm(token, user_id=USER)
        project.signed_out.add(session)
        assert isinstance(await refusal(tokens, token), InvalidSupabaseToken)

    async def test_refuses_a_deleted_user(
        self, tokens: LegacyTokens, project: FakeSupabase
    ) -> None:
        user_id = uuid4()
        project.deleted.add(str(user_id))
        token = project.legacy_token(sub=str(user_id))
        assert isinstance(await refusal(tokens, token, user_id), InvalidSupabaseToken)

    async def test_forbids_a_banned_user(self, tokens: LegacyTokens, project: FakeSupabase) -> None:
        user_id = uuid4()
        project.banned.add(str(user_id))
        token = project.legacy_token(sub=str(user_id))
        assert isinstance(await refusal(tokens, token, user_id), ForbiddenIdentity)

    async def test_blames_nobody_for_our_wrong_api_key(
        self, project: FakeSupabase, http: httpx.AsyncClient, log: list[str]
    ) -> None:
        tokens = LegacyTokens(url=project.url, api_key="sb_secret_wrong", http=http)
        error = await refusal(tokens, project.legacy_token(sub=str(USER)))
        assert isinstance(error, SupabaseUnavailable)
        assert error.headers == {"Retry-After": "5"}
        assert log == ["ERROR Supabase Auth did not check a token (status 401)\n\n"]

    @pytest.mark.parametrize(
        ("status", "body", "kind"),
        [
            (401, {"error_code": "bad_jwt"}, InvalidSupabaseToken),
            (403, {"error_code": "bad_jwt", "code": 403, "msg": "m"}, InvalidSupabaseToken),
            (403, {"error_code": "session_expired"}, InvalidSupabaseToken),
            (401, {"error_code": "user_banned"}, ForbiddenIdentity),
            (401, {"message": "Invalid API key"}, SupabaseUnavailable),
            (403, {"message": "Forbidden"}, SupabaseUnavailable),
            (403, "Forbidden", SupabaseUnavailable),
            (404, {"error_code": "user_not_found"}, SupabaseUnavailable),
            (429, {"error_code": "over_request_rate_limit"}, SupabaseUnavailable),
            (400, {"error_code": "bad_jwt"}, SupabaseUnavailable),
            (503, {"error_code": "bad_jwt"}, SupabaseUnavailable),
        ],
    )
    async def test_tells_verdicts_from_troubles(
        self, status: int, body: object, kind: type[Rejection]
    ) -> None:
        transport = httpx.MockTransport(lambda _: httpx.Response(status, json=body))
        async with httpx.AsyncClient(transport=transport) as http:
            tokens = LegacyTokens(url="https://example.com", api_key="key", http=http)
            assert type(await refusal(tokens, "token")) is kind

    @pytest.mark.parametrize("mood", sorted(BAD_ANSWERS.keys() - {"stall"}))
    async def test_gives_no_verdict_on_a_bad_answer(
        self, tokens: LegacyTokens, project: FakeSupabase, mood: Mood, log: list[str]
    ) -> None:
        project.mood = mood
        token = project.legacy_token(sub=str(USER))
        error = await refusal(tokens, token)
        assert isinstance(error, SupabaseUnavailable)
        assert error.headers == {"Retry-After": "5"}
        assert ELSEWHERE not in project.requests
        assert len(log) == 1
        assert not [part for part in token.split(".") if part in log[0]]

    async def test_waits_no_longer_than_that(
        self, impatient: LegacyTokens, project: FakeSupabase, log: list[str]
    ) -> None:
        project.mood = "stall"
        error = await refusal(impatient, project.legacy_token(sub=str(USER)))
        assert isinstance(error, SupabaseUnavailable)
        assert log == ["WARNING Supabase Auth did not check a token (TimeoutError)\n\n"]

    async def test_asks_for_no_more_than_ten_at_once(
        self, tokens: LegacyTokens, impatient: LegacyTokens, project: FakeSupabase
    ) -> None:
        project.mood = "stall"
        project.crowd = threading.Barrier(11)
        token = project.legacy_token(sub=str(USER))
        stalled = [asyncio.create_task(refusal(tokens, token)) for _ in range(10)]
        await asyncio.to_thread(project.crowd.wait, 3)
        project.crowd = None
        await refusal(impatient, token)
        assert project.count(USER_PATH) == 10
        project.release()
        await asyncio.gather(*stalled)
