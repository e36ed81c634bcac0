"""Which tokens the verifier takes for those of the project, and whose they are."""

import time
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.supabase import (
    ForbiddenIdentity,
    Identity,
    InvalidSupabaseToken,
    Rejection,
    SupabaseVerifier,
)
from tests.accounts.verifiers import Clock, MakeVerifier
from tests.fakes import KEYS_PATH, FakeSupabase
from tests.signing import compact, make_key


class TestVerify:
    @pytest.mark.parametrize("algorithm", ["ES256", "RS256", "EdDSA"])
    async def test_returns_whose_token_it_is(
        self, verifier: SupabaseVerifier, fake: FakeSupabase, clock: Clock, algorithm: str
    ) -> None:
        sub, session = uuid4(), uuid4()
        claims: dict[str, Any] = {
            "sub": str(sub),
            "session_id": str(session),
            "email": "ADA@example.com",
        }
        token = fake.token(fake.key(algorithm), **claims)
        identity = Identity(sub, session, "ada@example.com", int(clock.now) + 3600)
        assert await verifier.verify(token) == identity
        assert await verifier.verify(token.encode()) == identity
        assert fake.requests == [KEYS_PATH]

    async def test_accepts_what_real_tokens_may_have_besides(
        self, verifier: SupabaseVerifier, fake: FakeSupabase, clock: Clock
    ) -> None:
        token = fake.token(
            aud=["authenticated"],
            amr=["password", "otp"],
            aal="aal2",
            nbf=clock.now,
            jti=str(uuid4()),
            phone="4915112345678",
            email="",
            user_metadata={"email": "victim@example.com", "email_verified": True},
            app_metadata={"provider": "phone", "roles": ["admin"]},
        )
        assert (await verifier.verify(token)).email is None

    async def test_accepts_a_header_without_typ(
        self, verifier: SupabaseVerifier, fake: FakeSupabase
    ) -> None:
        header = {"alg": "ES256", "kid": fake.keys[0].kid}
        await verifier.verify(compact(header, fake.claims(), fake.keys[0].sign))

    async def test_says_that_a_user_is_forbidden_only_of_a_genuine_token(
        self, verifier: SupabaseVerifier, fake: FakeSupabase
    ) -> None:
        with pytest.raises(ForbiddenIdentity):
            await verifier.verify(fake.token(is_anonymous=True))
        forged = fake.token(make_key(kid=fake.keys[0].kid), is_anonymous=True)
        with pytest.raises(InvalidSupabaseToken):
            await verifier.verify(forged)

    async def test_refuses_a_valid_token_with_any_bit_flipped(
        self, verifier: SupabaseVerifier, fake: FakeSupabase
    ) -> None:
        token = fake.token().encode()
        await verifier.verify(token)
        for position in range(len(token) * 8):
            flipped = bytearray(token)
            flipped[position // 8] ^= 1 << position % 8
            with pytest.raises(InvalidSupabaseToken):
                await verifier.verify(bytes(flipped))
        assert fake.requests == [KEYS_PATH]

    async def test_asks_nobody_about_a_token_that_cannot_be_good(
        self, make_verifier: MakeVerifier, fake: FakeSupabase
    ) -> None:
        verifier = make_verifier(api_key=fake.secret_key)
        for token in (
            "",
            fake.token(exp=1),
            fake.token(iss="https://example.com/auth/v1"),
            fake.token(header={"kid": "unknown", "alg": "ES384"}),
            fake.token(header={"kid": "unknown", "alg": "none"}),
            compact({"alg": "ES256"}, fake.claims(), lambda _: b""),
            fake.legacy_token(exp=1),
            fake.legacy_token(is_anonymous=True),
            fake.legacy_token(role="service_role"),
            fake.legacy_api_key("anon"),
        ):
            with pytest.raises(Rejection):
                await verifier.verify(token)
        assert fake.requests == []

    async def test_refuses_whatever_needs_no_key_in_under_five_milliseconds(
        self, verifier: SupabaseVerifier, fake: FakeSupabase
    ) -> None:
        for token in ("." * 8192, "x" * 10_000_000, fake.token(exp=1), fake.token(iss="a" * 4000)):
            start = time.thread_time()
            with pytest.raises(InvalidSupabaseToken):
                await verifier.verify(token)
            assert time.thread_time() - start < 0.005

    @given(
        token=st.text()
        | st.binary()
        | st.builds(compact, st.binary(), st.binary(), st.just(bytes))
        | st.builds(
            lambda header, claims: compact(header, claims, lambda _: b"x"),
            st.dictionaries(st.sampled_from(["alg", "kid", "typ", "jku"]), st.text()),
            st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text()),
        )
    )
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    async def test_raises_a_refusal_whatever_the_token(
        self, verifier: SupabaseVerifier, token: str | bytes
    ) -> None:
        with pytest.raises(InvalidSupabaseToken):
            await verifier.verify(token)

    @given(data=st.data())
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    async def test_returns_an_identity_or_raises_a_refusal_for_any_signed_claims(
        self, verifier: SupabaseVerifier, fake: FakeSupabase, data: st.DataObject
    ) -> None:
        name = data.draw(st.sampled_from([*fake.claims(), "nbf", "client_id"]))
        scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
        value: Any = data.draw(scalars | st.lists(scalars, max_size=2))
        statuses = {200}
        try:
            await verifier.verify(fake.token(**{name: value}))
        except Rejection as refusal:
            statuses.add(refusal.status)
        assert statuses <= {200, 401, 403}
