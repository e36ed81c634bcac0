import json
import stat
import tempfile
import threading
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.core.exceptions import ImproperlyConfigured

from accounts.jose import parse
from accounts.supabase.identity import read_identity, reject_forbidden
from accounts.supabase.stand_in import ISSUER, StandInIssuer, stand_in_issuer
from megapolis import environment
from tests.fakes import FakeSupabase
from tests.waiting import TIMEOUT

NOW = 1_800_000_000.5


@pytest.fixture
def stand_in(tmp_path: Path) -> StandInIssuer:
    return StandInIssuer(tmp_path / "keys", clock=lambda: NOW)


class TestToken:
    def test_has_exactly_the_header_and_the_claims_of_a_real_one(
        self, stand_in: StandInIssuer
    ) -> None:
        mine = parse(stand_in.token("ada@example.com"))
        with FakeSupabase(clock=lambda: NOW) as fake:
            real = parse(fake.token(session_id=mine.claims["session_id"], iss=ISSUER))
        assert (mine.alg, mine.typ) == (real.alg, real.typ) == ("ES256", "JWT")
        assert mine.kid in stand_in.keys
        as_json = json.dumps(real.claims).replace(real.text("sub"), mine.text("sub"))
        assert json.dumps(mine.claims) == as_json

    def test_is_of_a_user_for_an_hour(self, stand_in: StandInIssuer) -> None:
        token = parse(stand_in.token(" Ada@Example.com"))
        identity = read_identity(token, now=NOW)
        reject_forbidden(token)
        assert identity.email == "ada@example.com"
        assert identity.expires_at == int(NOW) + 3600
        assert token.claims["iss"] == ISSUER == stand_in.iss
        assert token.claims["iat"] == int(NOW)

    def test_says_that_there_was_a_second_factor_if_told_so(self, stand_in: StandInIssuer) -> None:
        token = parse(stand_in.token("ada@example.com", aal2=True))
        reject_forbidden(token)
        assert read_identity(token, now=NOW).aal == 2
        assert token.claims["amr"] == [
            {"method": method, "timestamp": int(NOW)} for method in ("totp", "password")
        ]

    def test_is_of_the_same_user_in_a_new_session_each_time(self, stand_in: StandInIssuer) -> None:
        first, second, other = (
            read_identity(parse(stand_in.token(email)), now=NOW)
            for email in ("ada@example.com", "ADA@example.com", "bob@example.com")
        )
        assert first.supabase_id == second.supabase_id != other.supabase_id
        assert first.session_id != second.session_id

    @pytest.mark.parametrize("email", ["", "ada", "ada@", "a b@example.com"])
    def test_is_for_an_email_only(self, stand_in: StandInIssuer, email: str) -> None:
        with pytest.raises(ValueError, match=r"^EMAIL is not an email address\.$") as caught:
            stand_in.token(email)
        assert caught.value.__suppress_context__

    def test_is_signed_with_the_key_it_names(self, stand_in: StandInIssuer) -> None:
        token = stand_in.token("ada@example.com")
        key = stand_in.keys[jwt.get_unverified_header(token)["kid"]]
        options: jwt.types.Options = {"verify_exp": False, "verify_iat": False}
        assert jwt.decode(token, key, ["ES256"], options, audience="authenticated")

    def test_is_dated_by_the_real_clock_unless_told_otherwise(self, tmp_path: Path) -> None:
        assert jwt.decode(
            (issuer := StandInIssuer(tmp_path)).token("ada@example.com"),
            next(iter(issuer.keys.values())),
            ["ES256"],
            audience="authenticated",
        )


class TestKey:
    def test_is_kept_where_its_owner_alone_can_read_it(
        self, stand_in: StandInIssuer, tmp_path: Path
    ) -> None:
        (file,) = (tmp_path / "keys").iterdir()
        assert file.name == "stand-in.pem"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700

    def test_is_the_same_the_next_time(self, stand_in: StandInIssuer, tmp_path: Path) -> None:
        assert list(StandInIssuer(tmp_path / "keys").keys) == list(stand_in.keys)

    def test_is_another_in_another_checkout(self, stand_in: StandInIssuer, tmp_path: Path) -> None:
        assert list(StandInIssuer(tmp_path / "a" / "b").keys) != list(stand_in.keys)

    def test_is_written_in_no_other_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
        assert StandInIssuer(tmp_path).keys

    def test_is_one_however_many_make_it_at_once(self, tmp_path: Path) -> None:
        together = threading.Barrier(8)
        kids: list[str] = []

        def make() -> None:
            together.wait(TIMEOUT)
            kids.extend(StandInIssuer(tmp_path).keys)

        threads = [threading.Thread(target=make) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(kids) == 8
        assert len(set(kids)) == 1

    def test_gives_way_to_one_that_was_made_in_the_meantime(
        self, stand_in: StandInIssuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Path, "exists", lambda _: False)
        assert list(StandInIssuer(tmp_path / "keys").keys) == list(stand_in.keys)
        assert [file.name for file in (tmp_path / "keys").iterdir()] == ["stand-in.pem"]

    def test_must_be_of_the_right_kind(self, tmp_path: Path) -> None:
        pem = Ed25519PrivateKey.generate().private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
        (tmp_path / "stand-in.pem").write_bytes(pem)
        with pytest.raises(TypeError, match=r"stand-in\.pem holds another kind of key"):
            StandInIssuer(tmp_path)


class TestStandInIssuer:
    def test_is_there_in_development(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(environment, "ENVIRONMENT", "development")
        monkeypatch.setattr(environment, "BASE_DIR", tmp_path)
        kids = list(stand_in_issuer().keys)
        assert kids == list(StandInIssuer(tmp_path / ".keys").keys)

    @pytest.mark.parametrize("name", ["production", "test"])
    def test_is_not_there_elsewhere(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
    ) -> None:
        monkeypatch.setattr(environment, "ENVIRONMENT", name)
        monkeypatch.setattr(environment, "BASE_DIR", tmp_path)
        with pytest.raises(
            ImproperlyConfigured, match=r"^The stand-in issuer needs ENVIRONMENT=development$"
        ):
            stand_in_issuer()
        assert not list(tmp_path.iterdir())

    def test_has_a_name_that_no_project_can_have(self) -> None:
        assert ".invalid/" in ISSUER
