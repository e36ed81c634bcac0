from pathlib import Path

import httpx
import pytest

from accounts.jose import MalformedToken
from accounts.supabase.auth_client import MAX_RESPONSE_BYTES, AuthClient, http_client
from tests.fakes import KEYS_PATH, FakeSupabase, Mood


@pytest.fixture
def server(project: FakeSupabase, http: httpx.AsyncClient) -> AuthClient:
    return AuthClient(url=project.url, http=http)


@pytest.fixture
def impatient(project: FakeSupabase, http: httpx.AsyncClient) -> AuthClient:
    return AuthClient(url=project.url, http=http, timeout=0.05)


class TestSigningKeys:
    async def test_are_those_that_the_project_publishes(
        self, server: AuthClient, project: FakeSupabase
    ) -> None:
        assert list(await server.signing_keys()) == [key.kid for key in project.keys]
        assert project.requests == [KEYS_PATH]

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
        self,
        server: AuthClient,
        project: FakeSupabase,
        mood: Mood,
        error: type[Exception],
        text: str,
    ) -> None:
        project.mood = mood
        with pytest.raises(error, match=text):
            await server.signing_keys()
        assert project.requests == [KEYS_PATH]

    async def test_may_be_none_at_all(self, server: AuthClient, project: FakeSupabase) -> None:
        project.mood = "empty"
        assert await server.signing_keys() == {}

    async def test_are_not_waited_for_any_longer_than_that(
        self, impatient: AuthClient, project: FakeSupabase
    ) -> None:
        project.mood = "stall"
        with pytest.raises(TimeoutError):
            await impatient.signing_keys()

    async def test_are_not_there_when_nobody_listens(self, http: httpx.AsyncClient) -> None:
        with FakeSupabase() as gone:
            server = AuthClient(url=gone.url, http=http)
        with pytest.raises(httpx.ConnectError):
            await server.signing_keys()


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
        self, monkeypatch: pytest.MonkeyPatch, project: FakeSupabase, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing"))
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        async with http_client() as http:
            assert (await http.get(f"{project.url}{KEYS_PATH}")).status_code == 200

    async def test_reads_an_answer_of_the_greatest_size_and_none_larger(
        self, project: FakeSupabase, http: httpx.AsyncClient
    ) -> None:
        assert MAX_RESPONSE_BYTES == 65_536
        assert len((await http.get(f"{project.url}/size/65536")).content) == MAX_RESPONSE_BYTES
        with pytest.raises(httpx.ReadError):
            await http.get(f"{project.url}/size/65537")
        assert (await http.get(f"{project.url}/size/0")).status_code == 200
