"""The attack table against the verifier. `test_attacks_over_http` sends it to the service."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from accounts.supabase import Rejection, SupabaseVerifier
from accounts.supabase.auth_client import http_client
from tests.accounts.attacks import ATTACKS, Attack
from tests.fakes import FakeSupabase


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeSupabase]:
    with FakeSupabase() as project:
        yield project


@pytest.fixture(scope="module")
async def verifiers(fake: FakeSupabase) -> AsyncIterator[list[SupabaseVerifier]]:
    """The three ways to be configured: legacy tokens are checked here, by Auth, or refused."""
    ways: list[dict[str, Any]] = [
        {"jwt_secret": fake.legacy_secret},
        {"api_key": fake.secret_key},
        {},
    ]
    verifiers = [SupabaseVerifier(url=fake.url, http=http_client(), **way) for way in ways]
    yield verifiers
    for verifier in verifiers:
        await verifier.aclose()


def chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


class TestAttacks:
    async def test_are_many_and_each_has_a_name_of_its_own(self) -> None:
        assert len(ATTACKS) >= 150
        assert [
            name for name, count in Counter(row.name for row in ATTACKS).items() if count > 1
        ] == []

    @pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
    async def test_are_refused_without_a_trace_and_the_next_good_token_is_not(
        self,
        attack: Attack,
        fake: FakeSupabase,
        verifiers: list[SupabaseVerifier],
        log: list[str],
    ) -> None:
        for verifier in verifiers:
            token = attack.token(fake)
            with pytest.raises(Rejection) as caught:
                await verifier.verify(token)
            assert caught.value.status == attack.status
            secrets = [part for part in token.split(".") if len(part) >= 8]
            for error in chain(caught.value):
                assert not [part for part in secrets if part in repr((error, vars(error)))]
            await verifier.verify(fake.token())
        assert log == []
