"""JWT_SECRET_KEY is replaced, and the old one stands in JWT_SECRET_KEY_FALLBACKS for a while."""

from collections import OrderedDict
from collections.abc import Callable

import httpx
import pytest

from accounts import tokens
from tests import factories
from tests.conftest import MakeClient
from tests.processes import development, manage, serving

OLD, NEW, OLDEST = (f"{name} signing key made up for this test" for name in ("old", "new", "1st"))

type UseKeys = Callable[..., None]


@pytest.fixture
def use_keys(monkeypatch: pytest.MonkeyPatch) -> UseKeys:
    """`use_keys(NEW, OLD)` is a restart with this key and these fallbacks."""

    def use(*secrets: str) -> None:
        monkeypatch.setattr(tokens, "_secrets", [secret.encode() for secret in secrets])
        monkeypatch.setattr(tokens, "_verified", OrderedDict())

    return use


async def status(client: httpx.AsyncClient) -> int:
    return (await client.get("/auth/me")).status_code


class TestRotation:
    async def test_signs_nobody_out_as_long_as_the_old_key_is_a_fallback(
        self, make_client: MakeClient, user: factories.UserRow, use_keys: UseKeys
    ) -> None:
        use_keys(OLD)
        client = await make_client(user)
        use_keys(NEW, OLDEST, OLD)

        assert await status(client) == 200

    async def test_signs_its_holders_out_when_the_old_key_is_removed(
        self, make_client: MakeClient, user: factories.UserRow, use_keys: UseKeys
    ) -> None:
        use_keys(OLD)
        client = await make_client(user)
        use_keys(NEW)

        response = await client.get("/auth/me")
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'

    async def test_gives_out_tokens_of_the_new_key_at_once(
        self, make_client: MakeClient, user: factories.UserRow, use_keys: UseKeys
    ) -> None:
        use_keys(NEW, OLD)
        client = await make_client(user)
        assert await status(client) == 200
        use_keys(OLD)
        assert await status(client) == 401
        use_keys(NEW)
        assert await status(client) == 200


class TestEnvironment:
    """The same with processes, as an operator does it."""

    @pytest.fixture(scope="class")
    @classmethod
    def given(cls, module_db: None) -> dict[str, str]:
        return development()

    @pytest.fixture(scope="class")
    @classmethod
    def token(cls, given: dict[str, str]) -> str:
        """A token of before the rotation."""
        return manage("token", "ada@example.com", given=given | {"JWT_SECRET_KEY": OLD}).stdout

    @pytest.mark.parametrize(("fallbacks", "expected"), [(f"{OLDEST},{OLD}", 200), ("", 401)])
    def test_names_the_keys(
        self, given: dict[str, str], token: str, fallbacks: str, expected: int
    ) -> None:
        keys = {"JWT_SECRET_KEY": NEW, "JWT_SECRET_KEY_FALLBACKS": fallbacks}
        with serving(given | keys) as service:
            headers = {"Authorization": f"Bearer {token.strip()}"}
            response = httpx.get(f"{service.url}/auth/me", headers=headers)

        assert response.status_code == expected
