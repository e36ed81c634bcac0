"""When the verifier fetches the keys of the project, and what it does without them."""

import asyncio
import time
from typing import Any

import pytest

from accounts.supabase import InvalidSupabaseToken, SupabaseUnavailable, SupabaseVerifier
from accounts.supabase.auth_client import TIMEOUT
from tests.accounts.verifiers import Clock, MakeVerifier
from tests.fakes import KEYS_PATH, FakeSupabase
from tests.signing import compact, make_key

MINUTE = 60


class TestKeys:
    async def test_are_fetched_once_for_two_hundred_cold_requests(
        self, verifier: SupabaseVerifier, fake: FakeSupabase
    ) -> None:
        await asyncio.gather(*(verifier.verify(fake.token()) for _ in range(200)))
        assert fake.requests == [KEYS_PATH]

    async def test_are_noticed_at_once_when_they_rotate(
        self, verifier: SupabaseVerifier, fake: FakeSupabase, clock: Clock
    ) -> None:
        old = fake.token()
        await verifier.verify(old)
        clock.now += MINUTE
        fake.rotate()
        await verifier.verify(fake.token())
        await verifier.verify(old)
        assert fake.count(KEYS_PATH) == 2

    async def test_are_not_accepted_ten_minutes_after_they_were_revoked(
        self, verifier: SupabaseVerifier, fake: FakeSupabase, clock: Clock
    ) -> None:
        revoked = fake.keys[0]
        await verifier.verify(fake.token(revoked))
        fake.rotate()
        fake.revoke(revoked)
        await verifier.verify(fake.token(revoked))
        clock.now += 10 * MINUTE
        with pytest.raises(InvalidSupabaseToken):
            await verifier.verify(fake.token(revoked))

    async def test_are_asked_for_once_in_thirty_seconds_by_ten_thousand_unknown_kids(
        self, verifier: SupabaseVerifier, fake: FakeSupabase, clock: Clock
    ) -> None:
        await verifier.verify(fake.token())
        clock.now += 30
        signer = make_key()
        for number in range(10_000):
            header = {"alg": "ES256", "kid": f"unknown {number}"}
            with pytest.raises(InvalidSupabaseToken):
                await verifier.verify(compact(header, fake.claims(), lambda _: bytes(64)))
        assert fake.count(KEYS_PATH) == 2
        clock.now += 30
        with pytest.raises(InvalidSupabaseToken):
            await verifier.verify(fake.token(signer))
        assert fake.count(KEYS_PATH) == 3

    @pytest.mark.parametrize(
        "mood", ["garbage", "error", "nothing", "redirect", "empty", "oversized"]
    )
    async def test_serve_on_while_auth_is_down(
        self, verifier: SupabaseVerifier, fake: FakeSupabase, clock: Clock, mood: Any
    ) -> None:
        await verifier.verify(fake.token())
        fake.mood = mood
        clock.now += 60 * MINUTE
        await verifier.verify(fake.token())
        assert fake.count(KEYS_PATH) == 2

    async def test_are_missed_when_auth_is_down_from_the_start(
        self, verifier: SupabaseVerifier, fake: FakeSupabase
    ) -> None:
        fake.mood = "error"
        with pytest.raises(SupabaseUnavailable) as caught:
            await verifier.verify(fake.token())
        assert caught.value.headers == {"Retry-After": "30"}

    async def test_are_waited_for_no_longer_than_the_time_limit(
        self, make_verifier: MakeVerifier, fake: FakeSupabase
    ) -> None:
        fake.mood = "stall"
        verifier = make_verifier(timeout=0.05)
        start = time.monotonic()
        with pytest.raises(SupabaseUnavailable):
            await verifier.verify(fake.token())
        assert time.monotonic() - start < TIMEOUT - 0.5

    async def test_are_not_there_in_a_project_with_the_legacy_secret_only(
        self, verifier: SupabaseVerifier, fake: FakeSupabase
    ) -> None:
        stranger = fake.token()
        fake.keys.clear()
        with pytest.raises(InvalidSupabaseToken):
            await verifier.verify(stranger)


class TestHasKeys:
    async def test_is_true_once_they_were_fetched(
        self, verifier: SupabaseVerifier, fake: FakeSupabase
    ) -> None:
        assert not verifier.has_keys()
        await verifier.verify(fake.token())
        assert verifier.has_keys()
        assert fake.requests == [KEYS_PATH]

    @pytest.mark.parametrize("options", [{"url": ""}, {"allow_unverified": True}])
    async def test_is_true_where_nobody_needs_them(
        self, make_verifier: MakeVerifier, fake: FakeSupabase, options: dict[str, Any]
    ) -> None:
        assert make_verifier(**options).has_keys()
        assert fake.requests == []
