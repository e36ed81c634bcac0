"""The verifier that the environment asks for, from the start of the service to its end."""

import asyncio
import threading
import time
from pathlib import Path

import pytest

from accounts import supabase
from accounts.supabase import InvalidSupabaseToken, SupabaseUnavailable, verifier
from accounts.supabase.auth_client import http_client
from accounts.supabase.stand_in import StandInIssuer
from megapolis import environment
from tests.accounts.verifiers import Clock
from tests.fakes import KEYS_PATH, USER_PATH, FakeSupabase
from tests.signing import make_key


class TestVerifying:
    """The verifier of the process, which lives as long as the service."""

    @pytest.fixture(autouse=True)
    def project(self, fake: FakeSupabase, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
        clock.now = time.time()
        monkeypatch.setattr(environment, "SUPABASE_URL", fake.url)
        monkeypatch.setattr(environment, "SUPABASE_SERVICE_ROLE_KEY", "")
        monkeypatch.setattr(environment, "SUPABASE_JWT_SECRET", "")
        monkeypatch.setattr(environment, "SUPABASE_ALLOW_UNVERIFIED", False)

    async def test_has_the_url_of_the_environment(self, fake: FakeSupabase) -> None:
        async with supabase.verifying():
            assert fake.requests == []
            await supabase.verify(fake.token())
            with pytest.raises(InvalidSupabaseToken):
                await supabase.verify(fake.legacy_token())
        assert fake.requests == [KEYS_PATH]

    async def test_has_the_secret_of_the_environment(
        self, fake: FakeSupabase, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(environment, "SUPABASE_JWT_SECRET", fake.legacy_secret)
        async with supabase.verifying():
            await supabase.verify(fake.legacy_token())
        assert fake.requests == []

    async def test_has_the_api_key_of_the_environment(
        self, fake: FakeSupabase, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(environment, "SUPABASE_SERVICE_ROLE_KEY", fake.secret_key)
        async with supabase.verifying():
            await supabase.verify(fake.legacy_token())
        assert fake.requests == [USER_PATH]

    async def test_skips_signatures_if_the_environment_says_so(
        self, fake: FakeSupabase, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(environment, "SUPABASE_ALLOW_UNVERIFIED", True)
        async with supabase.verifying():
            await supabase.verify(fake.token(make_key()))

    @pytest.mark.parametrize("name", ["development", "test", "production"])
    async def test_believes_the_stand_in_in_development_only(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
    ) -> None:
        monkeypatch.setattr(environment, "ENVIRONMENT", name)
        monkeypatch.setattr(environment, "BASE_DIR", tmp_path)
        token = StandInIssuer(tmp_path / ".keys").token("ada@example.com")
        async with supabase.verifying():
            if name == "development":
                await supabase.verify(token)
            else:
                with pytest.raises(InvalidSupabaseToken):
                    await supabase.verify(token)

    async def test_knows_whether_it_has_keys(self, fake: FakeSupabase) -> None:
        assert supabase.has_keys()
        async with supabase.verifying():
            assert not supabase.has_keys()
            await supabase.verify(fake.token())
            assert supabase.has_keys()

    async def test_is_needed_to_verify_anything(self, fake: FakeSupabase) -> None:
        async with supabase.verifying():
            pass
        with pytest.raises(
            RuntimeError,
            match=r"^the verifier is closed: use `async with supabase\.verifying\(\):`$",
        ):
            await supabase.verify(fake.token())

    async def test_ends_what_it_began(
        self, fake: FakeSupabase, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        http = http_client()
        monkeypatch.setattr(verifier, "http_client", lambda: http)
        before = asyncio.all_tasks()
        fake.mood = "stall"
        fake.crowd = threading.Barrier(2)
        async with supabase.verifying():
            waiting = asyncio.create_task(supabase.verify(fake.token()))
            await asyncio.to_thread(fake.crowd.wait, 3)
            assert not http.is_closed
        assert http.is_closed
        with pytest.raises(SupabaseUnavailable):
            await waiting
        assert asyncio.all_tasks() <= before
