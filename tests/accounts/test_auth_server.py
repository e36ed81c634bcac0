import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest

from accounts.auth_server import MAX_RESPONSE_BYTES, AuthServer, http_client
from accounts.identity import (
    ForbiddenIdentity,
    InvalidSupabaseToken,
    Refusal,
    SupabaseUnavailable,
)
from accounts.jose import MalformedToken
from tests.fakes import BAD_ANSWERS, ELSEWHERE, KEYS_PATH, USER_PATH, FakeSupabase, Mood

USER = UUID("2f1b3c4d-5e6f-4a7b-8c9d-0e1f2a3b4c5d")


@pytest.fixture
def fake() -> Iterator[FakeSupabase]:
    with FakeSupabase() as fake:
        yield fake


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with http_client() as http:
        yield http


@pytest.fixture
def server(fake: FakeSupabase, http: httpx.AsyncClient) -> AuthServer:
    return AuthServer(url=fake.url, api_key=fake.secret_key, http=http)


@pytest.fixture
def impatient(fake: FakeSupabase, http: httpx.AsyncClient) -> AuthServer:
    return AuthServer(url=fake.url, api_key=fake.secret_key, http=http, timeout=0.05)


async def refusal(server: AuthServer, token: str, user_id: UUID = USER) -> Refusal:
    with pytest.raises(Refusal) as caught:
        await server.confirm(token, user_id=user_id)
    assert caught.value.__context__ is None
    return caught.value


class TestSigningKeys:
    async def test_are_those_that_the_project_publishes(
        self, server: AuthServer, fake: FakeSupabase
    ) -> None:
        assert list(await server.signing_keys()) == [key.kid for key in fake.keys]
        assert fake.requests == [KEYS_PATH]

    @pytest.mark.parametrize(
        ("mood", "error", "text"),
        [
            ("nothing", httpx.RemoteProtocolError, "disconnected"),
            ("redirect", httpx.HTTPStatusError, "302"),
            ("error", httpx.HTTPStatusError, "500"),
            ("oversized", httpx.ReadError, "^the answer is too long$"),
            ("compressed", httpx.DecodingError, "^compressed, though not asked for$"),
            ("garbage", MalformedToken, "^$"),
        ],
    )
    async def test_are_not_read_from_a_bad_answer(
        self, server: AuthServer, fake: FakeSupabase, mood: Mood, error: type[Exception], text: str
    ) -> None:
        fake.mood = mood
        with pytest.raises(error, match=text):
            await server.signing_keys()
        assert fake.requests == [KEYS_PATH]

    async def test_may_be_none_at_all(self, server: AuthServer, fake: FakeSupabase) -> None:
        fake.mood = "empty"
        assert await server.signing_keys() == {}

    async def test_are_not_waited_for_any_longer_than_that(
        self, impatient: AuthServer, fake: FakeSupabase
    ) -> None:
        fake.mood = "stall"
        with pytest.raises(TimeoutError):
            await impatient.signing_keys()

    async def test_are_not_there_when_nobody_listens(self, http: httpx.AsyncClient) -> None:
        with FakeSupabase() as gone:
            server = AuthServer(url=gone.url, api_key="", http=http)
        with pytest.raises(httpx.ConnectError):
            await server.signing_keys()


class TestConfirm:
    async def test_is_silent_for_a_token_that_auth_knows(
        self, server: AuthServer, fake: FakeSupabase
    ) -> None:
        await server.confirm(fake.legacy_token(sub=str(USER)), user_id=USER)
        await server.confirm(fake.token(sub=str(USER)), user_id=USER)
        assert fake.requests == [USER_PATH] * 2

    async def test_refuses_the_token_of_another_user(
        self, server: AuthServer, fake: FakeSupabase
    ) -> None:
        token = fake.legacy_token(sub=str(uuid4()))
        assert isinstance(await refusal(server, token), InvalidSupabaseToken)

    async def test_refuses_a_forged_token(self, server: AuthServer, fake: FakeSupabase) -> None:
        token = fake.legacy_token(sub=str(USER))[:-4] + "AAAA"
        assert isinstance(await refusal(server, token), InvalidSupabaseToken)

    async def test_refuses_an_ended_session(self, server: AuthServer, fake: FakeSupabase) -> None:
        session = str(uuid4())
        token = fake.legacy_token(sub=str(USER), session_id=session)
        await server.confirm(token, user_id=USER)
        fake.signed_out.add(session)
        assert isinstance(await refusal(server, token), InvalidSupabaseToken)

    async def test_refuses_a_deleted_user(self, server: AuthServer, fake: FakeSupabase) -> None:
        user_id = uuid4()
        fake.deleted.add(str(user_id))
        token = fake.legacy_token(sub=str(user_id))
        assert isinstance(await refusal(server, token, user_id), InvalidSupabaseToken)

    async def test_forbids_a_banned_user(self, server: AuthServer, fake: FakeSupabase) -> None:
        user_id = uuid4()
        fake.banned.add(str(user_id))
        token = fake.legacy_token(sub=str(user_id))
        assert isinstance(await refusal(server, token, user_id), ForbiddenIdentity)

    async def test_blames_nobody_for_our_wrong_api_key(
        self, fake: FakeSupabase, http: httpx.AsyncClient, log: list[str]
    ) -> None:
        server = AuthServer(url=fake.url, api_key="sb_secret_wrong", http=http)
        error = await refusal(server, fake.legacy_token(sub=str(USER)))
        assert isinstance(error, SupabaseUnavailable)
        assert error.headers == {"Retry-After": "5"}
        assert log == ["ERROR Supabase Auth refuses to give a verdict (status 401)\n\n"]

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
        self, status: int, body: object, kind: type[Refusal]
    ) -> None:
        transport = httpx.MockTransport(lambda _: httpx.Response(status, json=body))
        async with httpx.AsyncClient(transport=transport) as http:
            server = AuthServer(url="https://example.com", api_key="key", http=http)
            assert type(await refusal(server, "token")) is kind

    @pytest.mark.parametrize("mood", sorted(BAD_ANSWERS.keys() - {"stall"}))
    async def test_gives_no_verdict_on_a_bad_answer(
        self, server: AuthServer, fake: FakeSupabase, mood: Mood, log: list[str]
    ) -> None:
        fake.mood = mood
        token = fake.legacy_token(sub=str(USER))
        error = await refusal(server, token)
        assert isinstance(error, SupabaseUnavailable)
        assert error.headers == {"Retry-After": "5"}
        assert ELSEWHERE not in fake.requests
        assert len(log) == 1
        assert not [part for part in token.split(".") if part in log[0]]

    async def test_waits_no_longer_than_that(
        self, impatient: AuthServer, fake: FakeSupabase, log: list[str]
    ) -> None:
        fake.mood = "stall"
        error = await refusal(impatient, fake.legacy_token(sub=str(USER)))
        assert isinstance(error, SupabaseUnavailable)
        assert log == ["WARNING Supabase Auth gives no verdict (TimeoutError)\n\n"]

    async def test_asks_for_no_more_than_ten_at_once(
        self, server: AuthServer, impatient: AuthServer, fake: FakeSupabase
    ) -> None:
        fake.mood = "stall"
        fake.crowd = threading.Barrier(11)
        token = fake.legacy_token(sub=str(USER))
        stalled = [asyncio.create_task(refusal(server, token)) for _ in range(10)]
        await asyncio.to_thread(fake.crowd.wait, 3)
        fake.crowd = None
        await refusal(impatient, token)
        assert fake.count(USER_PATH) == 10
        fake.release()
        await asyncio.gather(*stalled)


class TestHttpClient:
    async def test_waits_three_seconds_and_follows_no_redirect(self) -> None:
        async with http_client() as http:
            assert http.timeout == httpx.Timeout(3)
            assert not http.follow_redirects
            assert not http.trust_env

    async def test_asks_for_json_as_it_is(self) -> None:
        async with http_client() as http:
            assert http.headers["Accept"] == "application/json"
            assert http.headers["Accept-Encoding"] == "identity"

    async def test_is_not_changed_by_the_process_environment(
        self, monkeypatch: pytest.MonkeyPatch, fake: FakeSupabase, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing"))
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        async with http_client() as http:
            assert (await http.get(f"{fake.url}{KEYS_PATH}")).status_code == 200

    async def test_reads_an_answer_of_the_greatest_size_and_none_larger(
        self, fake: FakeSupabase, http: httpx.AsyncClient
    ) -> None:
        assert MAX_RESPONSE_BYTES == 65_536
        assert len((await http.get(f"{fake.url}/size/65536")).content) == MAX_RESPONSE_BYTES
        with pytest.raises(httpx.ReadError):
            await http.get(f"{fake.url}/size/65537")
        assert (await http.get(f"{fake.url}/size/0")).status_code == 200
