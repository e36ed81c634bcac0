"""What this service expects of Supabase Auth: of the fake always, of a real project on demand.

The real one is asked when SUPABASE_VERIFY_URL, SUPABASE_VERIFY_API_KEY (a publishable, secret or
older API key), SUPABASE_VERIFY_EMAIL and SUPABASE_VERIFY_PASSWORD (of a user made for this) are in
the environment:

    pytest tests/verification
"""

import os
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from uuid import UUID

import httpx
import pytest
from supabase import AsyncClient, AsyncClientOptions, acreate_client

from accounts.jose import Jws, parse
from accounts.supabase import InvalidSupabaseToken, SupabaseVerifier
from accounts.supabase.auth_client import http_client
from accounts.supabase.key_set import read_key_set
from tests.fakes import FakeSupabase

VARIABLES = tuple(f"SUPABASE_VERIFY_{name}" for name in ("URL", "API_KEY", "EMAIL", "PASSWORD"))
CLAIMS = {
    *("iss", "aud", "exp", "iat", "sub", "role", "aal", "session_id", "email", "phone"),
    *("is_anonymous", "amr", "app_metadata", "user_metadata"),
}


class Project(ABC):
    """A Supabase project in which somebody can sign in and out."""

    url: str
    api_key: str

    @abstractmethod
    async def sign_in(self) -> str:
        """Return the access token of a new session."""

    @abstractmethod
    async def sign_out(self, token: str) -> None:
        """End the session of the token."""


class FakeProject(Project):
    def __init__(self, fake: FakeSupabase) -> None:
        self.fake = fake
        self.url = fake.url
        self.api_key = fake.publishable_key

    async def sign_in(self) -> str:
        return self.fake.token()

    async def sign_out(self, token: str) -> None:
        self.fake.signed_out.add(parse(token).text("session_id"))


class RealProject(Project):
    def __init__(self, client: AsyncClient) -> None:
        self.url, self.api_key, self.email, self.password = (os.environ[name] for name in VARIABLES)
        self.client = client

    async def sign_in(self) -> str:
        credentials = {"email": self.email, "password": self.password}
        answer = await self.client.auth.sign_in_with_password(credentials)  # type: ignore[arg-type]
        assert answer.session is not None
        return answer.session.access_token

    async def sign_out(self, token: str) -> None:
        await self.client.auth.admin.sign_out(token, "local")


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with http_client() as http:
        yield http


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.enable_socket)])
async def project(
    request: pytest.FixtureRequest, http: httpx.AsyncClient
) -> AsyncIterator[Project]:
    if request.param == "fake":
        with FakeSupabase() as fake:
            yield FakeProject(fake)
        return
    if not all(os.environ.get(name) for name in VARIABLES):
        pytest.skip(f"needs {', '.join(VARIABLES)}")
    url, api_key = (os.environ[name] for name in VARIABLES[:2])
    yield RealProject(await acreate_client(url, api_key, AsyncClientOptions(httpx_client=http)))


async def ask_for_user(project: Project, http: httpx.AsyncClient, token: str) -> httpx.Response:
    headers = {
        "apikey": project.api_key,
        "Authorization": f"Bearer {token}",
        "X-Supabase-Api-Version": "2024-01-01",
    }
    return await http.get(f"{project.url}/auth/v1/user", headers=headers)


def tampered(token: str) -> str:
    """The token with another letter in the middle of its signature."""
    signed, _, signature = token.rpartition(".")
    middle = len(signature) // 2
    letter = "A" if signature[middle] != "A" else "B"
    return f"{signed}.{signature[:middle]}{letter}{signature[middle + 1 :]}"


class TestKeySet:
    async def test_is_public_short_and_may_be_kept_for_a_while(
        self, project: Project, http: httpx.AsyncClient
    ) -> None:
        response = await http.get(f"{project.url}/auth/v1/.well-known/jwks.json")
        assert response.status_code == 200
        assert "max-age=" in response.headers["Cache-Control"]
        assert set(response.json()) == {"keys"}

    async def test_has_the_key_that_signs(self, project: Project, http: httpx.AsyncClient) -> None:
        response = await http.get(f"{project.url}/auth/v1/.well-known/jwks.json")
        token = parse(await project.sign_in())
        if token.alg == "HS256":
            pytest.skip("this project signs with the legacy secret")
        key = read_key_set(response.content)[token.kid or ""]
        assert key.algorithm_name == token.alg


class TestAccessToken:
    @pytest.fixture
    async def token(self, project: Project) -> Jws:
        return parse(await project.sign_in())

    async def test_has_the_header_and_claims_that_we_know(
        self, project: Project, token: Jws
    ) -> None:
        assert token.alg in {"ES256", "RS256", "EdDSA", "HS256"}
        assert token.typ == "JWT"
        assert token.claims.keys() >= CLAIMS
        assert token.claims["iss"] == f"{project.url}/auth/v1"
        assert token.claims["role"] == "authenticated"
        assert token.claims["aud"] in ("authenticated", ["authenticated"])
        assert token.claims["is_anonymous"] is False
        assert "client_id" not in token.claims

    async def test_is_accepted_and_not_once_it_was_tampered_with(
        self, project: Project, http: httpx.AsyncClient
    ) -> None:
        verifier = SupabaseVerifier(url=project.url, http=http, api_key=project.api_key)
        token = await project.sign_in()
        identity = await verifier.verify(token)
        assert identity.supabase_id == UUID(parse(token).text("sub"))
        with pytest.raises(InvalidSupabaseToken):
            await verifier.verify(tampered(token))


class TestUser:
    async def test_is_the_one_of_the_token(self, project: Project, http: httpx.AsyncClient) -> None:
        token = await project.sign_in()
        response = await ask_for_user(project, http, token)
        assert response.status_code == 200
        assert response.json()["id"] == parse(token).claims["sub"]

    async def test_is_nobody_for_a_token_that_was_tampered_with(
        self, project: Project, http: httpx.AsyncClient
    ) -> None:
        response = await ask_for_user(project, http, tampered(await project.sign_in()))
        assert (response.status_code, response.json()["code"]) == (403, "bad_jwt")

    async def test_is_nobody_after_sign_out(
        self, project: Project, http: httpx.AsyncClient
    ) -> None:
        token = await project.sign_in()
        await project.sign_out(token)
        response = await ask_for_user(project, http, token)
        assert (response.status_code, response.json()["code"]) == (403, "session_not_found")

    async def test_is_not_told_without_a_good_api_key(
        self, project: Project, http: httpx.AsyncClient
    ) -> None:
        token = await project.sign_in()
        project.api_key = "sb_secret_wrong"
        response = await ask_for_user(project, http, token)
        assert response.status_code == 401
        assert "code" not in response.json()
        assert "error_code" not in response.json()
