import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.exceptions import ImproperlyConfigured
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts import supabase
from accounts.auth_server import TIMEOUT, http_client
from accounts.issuer import StandInIssuer
from accounts.supabase import (
    ForbiddenIdentity,
    Identity,
    InvalidSupabaseToken,
    Refusal,
    SupabaseUnavailable,
    SupabaseVerifier,
)
from megapolis import environment
from tests.accounts.attacks.signature import pem
from tests.fakes import KEYS_PATH, USER_PATH, FakeSupabase
from tests.signing import compact, hmac_signer, make_key, to_json

MINUTE = 60
NO_SECRET = r"^SUPABASE_JWT_SECRET must not be a public key$"
MakeVerifier = Callable[..., SupabaseVerifier]


class Clock:
    """Seconds since 1970, which pass when told to."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fake(clock: Clock) -> Iterator[FakeSupabase]:
    with FakeSupabase(clock=clock) as fake:
        yield fake


@pytest.fixture
async def make_verifier(fake: FakeSupabase, clock: Clock) -> AsyncIterator[MakeVerifier]:
    verifiers: list[SupabaseVerifier] = []

    def make(**options: Any) -> SupabaseVerifier:
        facts: dict[str, Any] = {
            "url": fake.url,
            "http": http_client(),
            "clock": clock,
            "monotonic": clock,
        }
        verifiers.append(SupabaseVerifier(**(facts | options)))
        return verifiers[-1]

    yield make
    for verifier in verifiers:
        await verifier.aclose()


@pytest.fixture
def verifier(make_verifier: MakeVerifier) -> SupabaseVerifier:
    return make_verifier()


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
            with pytest.raises(Refusal):
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
        except Refusal as refusal:
            statuses.add(refusal.status)
        assert statuses <= {200, 401, 403}


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


class TestLegacyTokens:
    async def test_are_checked_here_with_the_secret(
        self, make_verifier: MakeVerifier, fake: FakeSupabase
    ) -> None:
        verifier = make_verifier(jwt_secret=fake.legacy_secret, api_key=fake.secret_key)
        sub = str(uuid4())
        assert (await verifier.verify(fake.legacy_token(sub=sub))).supabase_id == UUID(sub)
        await verifier.verify(fake.legacy_token(header={"kid": "any"}))
        with pytest.raises(InvalidSupabaseToken):
            await verifier.verify(fake.legacy_token()[:-4] + "AAAA")
        assert fake.requests == []

    async def test_are_checked_by_the_auth_server_without_the_secret(
        self, make_verifier: MakeVerifier, fake: FakeSupabase
    ) -> None:
        verifier = make_verifier(api_key=fake.secret_key)
        sub, session = str(uuid4()), str(uuid4())
        token = fake.legacy_token(sub=sub, session_id=session)
        assert (await verifier.verify(token)).supabase_id == UUID(sub)
        assert (await verifier.verify(token.encode())).session_id == UUID(session)
        assert fake.requests == [USER_PATH] * 2
        fake.signed_out.add(session)
        with pytest.raises(InvalidSupabaseToken):
            await verifier.verify(token)

    async def test_are_refused_without_the_secret_and_an_api_key(
        self, verifier: SupabaseVerifier, fake: FakeSupabase
    ) -> None:
        with pytest.raises(InvalidSupabaseToken):
            await verifier.verify(fake.legacy_token())
        assert fake.requests == []

    async def test_need_the_auth_server(
        self, make_verifier: MakeVerifier, fake: FakeSupabase
    ) -> None:
        verifier = make_verifier(api_key=fake.secret_key, timeout=0.05)
        fake.mood = "stall"
        with pytest.raises(SupabaseUnavailable):
            await verifier.verify(fake.legacy_token())

    async def test_are_in_use_beside_the_new_ones_while_a_project_migrates(
        self, make_verifier: MakeVerifier, fake: FakeSupabase
    ) -> None:
        verifier = make_verifier(jwt_secret=fake.legacy_secret)
        await verifier.verify(fake.legacy_token())
        await verifier.verify(fake.token())

    @pytest.mark.parametrize("encode", ["pem", "jwk"])
    async def test_cannot_be_checked_with_a_public_key_for_a_secret(
        self, make_verifier: MakeVerifier, fake: FakeSupabase, encode: str
    ) -> None:
        key = fake.keys[0]
        text = pem(key) if encode == "pem" else to_json(key.jwk())
        with pytest.raises(ImproperlyConfigured, match=NO_SECRET) as caught:
            make_verifier(jwt_secret=text.decode())
        assert key.jwk()["x"] not in str(caught.value)


class TestStandIn:
    @pytest.fixture
    def stand_in(self, tmp_path: Path, clock: Clock) -> StandInIssuer:
        return StandInIssuer(tmp_path, clock=clock)

    async def test_is_believed_beside_the_project(
        self, make_verifier: MakeVerifier, fake: FakeSupabase, stand_in: StandInIssuer
    ) -> None:
        verifier = make_verifier(stand_in_issuer=stand_in)
        assert (await verifier.verify(stand_in.token("ada@example.com"))).email == "ada@example.com"
        assert fake.requests == []
        await verifier.verify(fake.token())

    async def test_is_believed_without_any_project(
        self, make_verifier: MakeVerifier, fake: FakeSupabase, stand_in: StandInIssuer
    ) -> None:
        verifier = make_verifier(url="", stand_in_issuer=stand_in)
        await verifier.verify(stand_in.token("ada@example.com"))
        for issuer in (fake.issuer, "/auth/v1", ""):
            with pytest.raises(InvalidSupabaseToken):
                await verifier.verify(fake.token(iss=issuer))

    async def test_is_not_believed_where_there_is_none(
        self, verifier: SupabaseVerifier, stand_in: StandInIssuer
    ) -> None:
        with pytest.raises(InvalidSupabaseToken):
            await verifier.verify(stand_in.token("ada@example.com"))

    async def test_cannot_speak_for_the_project_nor_the_project_for_it(
        self, make_verifier: MakeVerifier, fake: FakeSupabase, stand_in: StandInIssuer
    ) -> None:
        verifier = make_verifier(
            stand_in_issuer=stand_in, jwt_secret=fake.legacy_secret, api_key=fake.secret_key
        )
        (kid,) = stand_in.keys
        for token in (
            fake.token(iss=stand_in.iss),
            fake.token(iss=stand_in.iss, header={"kid": kid}),
            fake.legacy_token(iss=stand_in.iss),
            fake.legacy_token(iss=stand_in.iss, header={"kid": kid}),
            compact({"alg": "ES256"}, fake.claims(iss=stand_in.iss), lambda _: b""),
        ):
            with pytest.raises(InvalidSupabaseToken):
                await verifier.verify(token)
        assert fake.requests == []


class TestUnverified:
    async def test_accepts_any_signature_and_says_so_loudly(
        self, make_verifier: MakeVerifier, fake: FakeSupabase, log: list[str]
    ) -> None:
        verifier = make_verifier(allow_unverified=True)
        assert log == ["WARNING SUPABASE_ALLOW_UNVERIFIED: anyone can sign in as anyone\n\n"]
        header: dict[str, object] = {"alg": "ES256"}
        for token in (
            fake.token(),
            fake.token(make_key()),
            compact(header, fake.claims(), lambda _: b"no signature"),
            compact(header | {"alg": "HS256"}, fake.claims(), hmac_signer(b"any")),
        ):
            log.clear()
            await verifier.verify(token)
            assert log == [
                "WARNING SUPABASE_ALLOW_UNVERIFIED: a token is accepted without its signature\n\n"
            ]
        assert fake.requests == []

    async def test_checks_form_and_claims_as_ever(
        self, make_verifier: MakeVerifier, fake: FakeSupabase, clock: Clock
    ) -> None:
        verifier = make_verifier(allow_unverified=True)
        for token in (
            "",
            fake.token(exp=int(clock.now) - 60),
            fake.token(iss="https://example.com/auth/v1"),
            fake.token(sub="1"),
            fake.token(aud="anon"),
            fake.token(header={"alg": "none"}),
            fake.token(header={"crit": ["exp"]}),
            fake.token() + "=",
        ):
            with pytest.raises(InvalidSupabaseToken):
                await verifier.verify(token)
        for claims in ({"is_anonymous": True}, {"client_id": "a"}, {"role": "service_role"}):
            with pytest.raises(ForbiddenIdentity):
                await verifier.verify(fake.token(**claims))

    async def test_needs_to_know_the_project(self, make_verifier: MakeVerifier) -> None:
        with pytest.raises(
            ImproperlyConfigured, match=r"^SUPABASE_ALLOW_UNVERIFIED needs SUPABASE_URL$"
        ):
            make_verifier(url="", allow_unverified=True)


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
        monkeypatch.setattr(supabase, "http_client", lambda: http)
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
