"""What the verifier believes besides: legacy tokens, those of the stand-in, and any at all."""

from pathlib import Path
from uuid import UUID, uuid4

import pytest
from django.core.exceptions import ImproperlyConfigured

from accounts.supabase import (
    ForbiddenIdentity,
    InvalidSupabaseToken,
    SupabaseUnavailable,
    SupabaseVerifier,
)
from accounts.supabase.stand_in import StandInIssuer
from tests.accounts.attacks.signature import pem
from tests.accounts.verifiers import Clock, MakeVerifier
from tests.fakes import USER_PATH, FakeSupabase
from tests.signing import compact, hmac_signer, make_key, to_json

NO_SECRET = r"^SUPABASE_JWT_SECRET must not be a public key$"


class TestLegacyTokens:
    async def test_are_checked_here_with_the_secret(
        self, make_verifier: MakeVerifier, fake: FakeSupabase
    ) -> None:
        verifier = make_verifier(jwt_secret=fake.legacy_secret, api_key=fake.secret_key)
        sub = str(uuid4())
        assert (await verifier.verify(fake.legacy_token(sub=sub))).supabase_id == UUID(sub)
        await verifier.verify(fake.legacy_token(header={"kid": "any"}))
        assert (await verifier.verify(fake.legacy_token(aal="aal2"))).aal == 2
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
