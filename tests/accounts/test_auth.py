"""Who makes a request, over HTTP: the Authorization header and all that is forged in it."""

from collections.abc import Callable

import httpx
import pytest

from tests import factories
from tests.accounts.conftest import traces
from tests.accounts.forgeries import FORGERIES, Claims, Forgery, bit_flips, claims, signed
from tests.conftest import MakeClient
from tests.fakes import FakeSupabase

INVALID = 'Bearer error="invalid_token"'
NO_CREDENTIALS = "Bearer"
HEADERS: dict[str, Callable[[str], str]] = {
    "empty": lambda _: "",
    "the scheme alone": lambda _: "Bearer",
    "the scheme and a space": lambda _: "Bearer ",
    "the token alone": lambda token: token,
    "without a space": lambda token: f"Bearer{token}",
    "with a tab": lambda token: f"Bearer\t{token}",
    "with a tab before it": lambda token: f"\tBearer {token}",
    "with a colon": lambda token: f"Bearer: {token}",
    "Basic": lambda token: f"Basic {token}",
    "Token": lambda token: f"Token {token}",
    "JWT": lambda token: f"JWT {token}",
    "a Cyrillic letter": lambda token: f"B\u0435arer {token}",
}
TOKENS: dict[str, Callable[[str], str]] = {
    "two spaces": lambda token: f" {token}",
    "a space behind it": lambda token: f"{token} ",
    "a comma": lambda token: f"{token},",
    "a list": lambda token: f"{token},{token}",
    "two with a space": lambda token: f"{token} {token}",
    "the scheme twice": lambda token: f"Bearer {token}",
    "a parameter": lambda token: f'token="{token}"',
    "quotes": lambda token: f'"{token}"',
    "é": lambda _: "é",
    "a NUL": lambda token: f"{token}\0",
    "a line more": lambda token: f"{token}\r\nX-Admin: 1",
    "64 KiB": lambda _: "a.b." + "c" * 65_536,
}


def header(text: str) -> list[tuple[bytes, bytes]]:
    return [(b"Authorization", text.encode("utf-8", "surrogatepass"))]


@pytest.fixture(scope="module")
async def good(module_db: None) -> Claims:
    """What a good token says here."""
    user = await factories.make_user()
    session = await factories.make_session(user)
    return claims(user_id=user.id, session_key=session.key)


@pytest.fixture
async def stranger(make_client: MakeClient) -> httpx.AsyncClient:
    return await make_client()


class TestAuthorization:
    @pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
    async def test_takes_the_scheme_in_any_case(
        self, stranger: httpx.AsyncClient, good: Claims, scheme: str
    ) -> None:
        response = await stranger.get("/auth/me", headers=header(f"{scheme} {signed(good)}"))
        assert response.status_code == 200

    async def test_is_asked_for_where_there_is_none(
        self, stranger: httpx.AsyncClient, good: Claims, queries: list[bytes]
    ) -> None:
        response = await stranger.get("/auth/me")

        assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, NO_CREDENTIALS)
        assert response.headers["Content-Type"] == "application/problem+json"
        assert response.json()["detail"] == "Not authenticated"
        assert queries == []

    @pytest.mark.parametrize("form", HEADERS.values(), ids=HEADERS)
    async def test_in_another_form_is_none(
        self,
        stranger: httpx.AsyncClient,
        good: Claims,
        queries: list[bytes],
        form: Callable[[str], str],
    ) -> None:
        response = await stranger.get("/auth/me", headers=header(form(signed(good))))

        assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, NO_CREDENTIALS)
        assert queries == []

    @pytest.mark.parametrize("form", TOKENS.values(), ids=TOKENS)
    async def test_with_something_else_than_a_token_is_invalid(
        self,
        stranger: httpx.AsyncClient,
        good: Claims,
        queries: list[bytes],
        form: Callable[[str], str],
    ) -> None:
        headers = header(f"Bearer {form(signed(good))}")
        response = await stranger.get("/auth/me", headers=headers)

        assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, INVALID)
        assert queries == []

    async def test_that_comes_twice_is_invalid(
        self, stranger: httpx.AsyncClient, good: Claims
    ) -> None:
        headers = header(f"Bearer {signed(good)}") * 2
        response = await stranger.get("/auth/me", headers=headers)

        assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, INVALID)

    async def test_in_bytes_of_no_text_is_invalid(
        self, stranger: httpx.AsyncClient, good: Claims
    ) -> None:
        value = b"Bearer \xff\xfe" + signed(good).encode()
        response = await stranger.get("/auth/me", headers=[(b"Authorization", value)])

        assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, INVALID)

    async def test_is_read_from_nowhere_else(
        self, stranger: httpx.AsyncClient, good: Claims, log: list[str]
    ) -> None:
        token = signed(good)
        elsewhere = {"Cookie": f"access_token={token}", "X-Authorization": f"Bearer {token}"}
        response = await stranger.get(f"/auth/me?access_token={token}", headers=elsewhere)

        assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, NO_CREDENTIALS)
        assert traces(token, response.text, log) == []


class TestForgery:
    """Refused without a query and without a trace, and the next good token is not."""

    @pytest.mark.parametrize("forgery", FORGERIES, ids=lambda forgery: forgery.name)
    async def test_is_refused(
        self,
        stranger: httpx.AsyncClient,
        good: Claims,
        queries: list[bytes],
        log: list[str],
        forgery: Forgery,
    ) -> None:
        token = forgery.token(good)
        response = await stranger.get("/auth/me", headers=header(f"Bearer {token}"))

        assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, INVALID)
        assert response.headers["Content-Type"] == "application/problem+json"
        assert response.json()["detail"] == "Invalid or expired token"
        assert queries == []
        assert traces(token, response.text, response.headers, log) == []
        next_one = await stranger.get("/auth/me", headers=header(f"Bearer {signed(good)}"))
        assert next_one.status_code == 200

    async def test_by_a_flipped_bit_is_refused(
        self, stranger: httpx.AsyncClient, good: Claims, queries: list[bytes]
    ) -> None:
        answers = set()
        for token in bit_flips(signed(good)):
            value = b"Bearer " + token.encode("latin-1")
            response = await stranger.get("/auth/me", headers=[(b"Authorization", value)])
            answers.add((response.status_code, response.headers["WWW-Authenticate"]))

        assert answers == {(401, INVALID)}
        assert queries == []

    @pytest.mark.parametrize(
        "make",
        [
            lambda project: project.token(),
            lambda project: project.token(role="service_role", sub="1", sid="1"),
            lambda project: project.legacy_token(),
            lambda project: project.legacy_api_key("anon"),
            lambda project: project.legacy_api_key("service_role"),
            lambda project: project.secret_key,
        ],
    )
    async def test_is_what_a_token_of_supabase_would_be(
        self,
        stranger: httpx.AsyncClient,
        good: Claims,
        queries: list[bytes],
        project: FakeSupabase,
        make: Callable[[FakeSupabase], str],
    ) -> None:
        response = await stranger.get("/auth/me", headers=header(f"Bearer {make(project)}"))

        assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, INVALID)
        assert queries == []
