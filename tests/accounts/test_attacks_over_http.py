"""The attack table against POST /auth/token. `test_attacks` sends it to the verifier alone."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from accounts import supabase
from accounts.api import exchange_throttle
from megapolis import environment
from tests.accounts.attacks import ATTACKS, Attack
from tests.accounts.conftest import traces
from tests.accounts.forgeries import bit_flips
from tests.conftest import MakeClient
from tests.fakes import FakeSupabase
from tests.signing import ABSENT

TITLES = {401: "Unauthorized", 403: "Forbidden", 422: "Unprocessable Content"}


@pytest.fixture(scope="module")
async def service(module_db: None) -> AsyncIterator[FakeSupabase]:
    """The project that the service belongs to while the whole table is sent."""
    with FakeSupabase() as project, pytest.MonkeyPatch.context() as patch:
        patch.setattr(environment, "SUPABASE_URL", project.url)
        patch.setattr(environment, "SUPABASE_SERVICE_ROLE_KEY", project.secret_key)
        patch.setattr(exchange_throttle, "per_minute", 0)
        async with supabase.verifying():
            yield project


async def post(client: httpx.AsyncClient, token: str) -> httpx.Response:
    """Send the token, a lone surrogate as an escape: JSON has no other way to write it."""
    body = json.dumps({"access_token": token})
    return await client.post(
        "/auth/token", content=body, headers={"Content-Type": "application/json"}
    )


class TestAttack:
    @pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
    async def test_is_refused_without_a_trace_and_the_next_good_token_is_not(
        self,
        attack: Attack,
        service: FakeSupabase,
        make_client: MakeClient,
        queries: list[bytes],
        log: list[str],
    ) -> None:
        client, token = await make_client(), attack.token(service)
        response = await post(client, token)

        assert response.status_code == attack.over_http, response.text
        assert response.headers["Content-Type"] == "application/problem+json"
        assert response.headers["Cache-Control"] == "no-store"
        assert response.json()["title"] == TITLES[response.status_code]
        challenge = response.headers.get("WWW-Authenticate")
        assert challenge == ('Bearer error="invalid_token"' if attack.over_http == 401 else None)
        assert queries == []
        assert traces(token, response.text, response.headers, log) == []
        assert (await post(client, service.token(email=""))).status_code == 200

    async def test_by_a_flipped_bit_is_refused(
        self, service: FakeSupabase, make_client: MakeClient, queries: list[bytes]
    ) -> None:
        optional = ("email", "phone", "app_metadata", "user_metadata", "amr", "aal")
        short: dict[str, Any] = dict.fromkeys(optional, ABSENT)
        client, token = await make_client(), service.token(**short)
        statuses = {(await post(client, flipped)).status_code for flipped in bit_flips(token)}

        assert statuses == {401, 422}
        assert queries == []
        assert (await post(client, token)).status_code == 200
