"""Our own token, by the function that reads it. `test_auth` sends the same over HTTP."""

import json
import tracemalloc
from collections import Counter, OrderedDict
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jwt.utils import base64url_decode

from accounts import jose, tokens
from megapolis import environment
from tests.accounts.conftest import traces
from tests.accounts.forgeries import FORGERIES, Forgery, bit_flips, claims, signed

KEY = UUID("2f1b3c4d-5e6f-4a7b-8c9d-0e1f2a3b4c5d")
NOW = 1_800_000_000
EXPIRY = tokens.expiry()
MOMENT = datetime.fromtimestamp(NOW, UTC)


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees a token that another one read."""
    monkeypatch.setattr(tokens, "_verified", OrderedDict())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is half a second past NOW."""
    monkeypatch.setattr(tokens, "time", lambda: NOW + 0.5)


def timed(**times: object) -> str:
    return signed(claims(user_id=7, session_key=KEY) | {"iat": NOW, "exp": NOW + 1} | times)


def parts(token: str) -> list[object]:
    return [json.loads(base64url_decode(part)) for part in token.split(".")[:2]]


class TestIssue:
    @pytest.mark.usefixtures("clock")
    def test_writes_these_fields_and_no_others(self) -> None:
        expires_at = MOMENT + timedelta(days=30, microseconds=999_999)
        token = tokens.issue(
            user_id=7, email="ada@example.com", session_key=KEY, expires_at=expires_at
        )

        header, written = parts(token)
        assert header == {"alg": "HS256", "typ": "JWT"}
        assert written == {
            "sub": "7",
            "email": "ada@example.com",
            "exp": NOW + 30 * 24 * 60 * 60,
            "iat": NOW,
            "iss": "megapolis",
            "aud": "megapolis-api",
            "sid": str(KEY),
        }
        assert token == signed(written)

    def test_leaves_the_email_empty_where_there_is_none(self) -> None:
        token = tokens.issue(user_id=7, email=None, session_key=KEY, expires_at=tokens.expiry())
        claims = parts(token)[1]
        assert isinstance(claims, dict)
        assert claims["email"] == ""

    @given(
        st.integers(1, 2**63 - 1),
        st.uuids(),
        st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    )
    @example(2**63 - 1, KEY, "\u00e9@example.com")
    def test_writes_what_is_read(self, user_id: int, session_key: UUID, email: str | None) -> None:
        expires_at = tokens.expiry()
        token = tokens.issue(
            user_id=user_id, email=email, session_key=session_key, expires_at=expires_at
        )
        assert tokens.read(token) == tokens.Claims(
            user_id=user_id, session_key=str(session_key), expires_at=int(expires_at.timestamp())
        )


class TestExpiry:
    def test_is_thirty_days_from_now(self) -> None:
        assert timedelta(days=environment.JWT_LIFETIME_DAYS) == timedelta(days=30)
        earliest = datetime.now(UTC) + timedelta(days=30)
        found = tokens.expiry()
        assert earliest <= found <= datetime.now(UTC) + timedelta(days=30)
        assert found.tzinfo is UTC


class TestRead:
    def test_returns_what_the_token_says(self) -> None:
        said = claims(user_id=7, session_key=KEY)
        found = tokens.read(signed(said))
        assert (found.user_id, found.session_key, found.expires_at) == (7, str(KEY), said["exp"])

    def test_verifies_a_token_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        token = signed(claims(user_id=7, session_key=KEY))
        found = tokens.read(token)
        monkeypatch.setattr(tokens, "_read", None)

        assert tokens.read(token) is found

    def test_caches_a_bounded_number_of_tokens_and_drops_the_oldest(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tokens, "CACHE_SIZE", 2)
        found = [
            tokens.read(signed(claims(user_id=number, session_key=KEY))) for number in (1, 2, 3)
        ]

        assert list(tokens._verified.values()) == found[1:]

    def test_caches_65_536_tokens_in_at_most_32_mib(self) -> None:
        sample = 2_048
        long = "a" * 240 + "@example.com"
        issued = [
            tokens.issue(user_id=2**62 + n, email=long, session_key=uuid4(), expires_at=EXPIRY)
            for n in range(sample)
        ]
        tracemalloc.start()
        try:
            for token in issued:
                tokens.read(token)
            size, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert tokens.CACHE_SIZE == 65_536
        assert size / sample * tokens.CACHE_SIZE < 32 * 2**20

    def test_caches_nothing_of_a_rejected_token(self) -> None:
        for forgery in FORGERIES:
            with pytest.raises(tokens.InvalidToken):
                tokens.read(forgery.token(claims(user_id=7, session_key=KEY)))

        assert not tokens._verified

    def test_rejects_a_token_that_is_too_long_before_it_computes_its_digest(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tokens, "sha256", None)

        with pytest.raises(tokens.InvalidToken):
            tokens.read("a" * (jose.MAX_TOKEN_LENGTH + 1))

    def test_rejects_a_cached_token_after_its_expiry(self, monkeypatch: pytest.MonkeyPatch) -> None:
        token = signed(claims(user_id=7, session_key=KEY))
        expires_at = tokens.read(token).expires_at

        monkeypatch.setattr(tokens, "time", lambda: float(expires_at))

        with pytest.raises(tokens.InvalidToken):
            tokens.read(token)

    @pytest.mark.usefixtures("clock")
    @pytest.mark.parametrize("times", [{"iat": NOW}, {"iat": 0}, {"exp": NOW + 1}, {"exp": 2**80}])
    def test_takes_a_token_that_is_in_force(self, times: dict[str, int]) -> None:
        assert tokens.read(timed(**times)).user_id == 7

    @pytest.mark.usefixtures("clock")
    @pytest.mark.parametrize("times", [{"iat": NOW + 1}, {"exp": NOW}, {"exp": NOW - 1}])
    def test_has_no_leeway(self, times: dict[str, int]) -> None:
        with pytest.raises(tokens.InvalidToken):
            tokens.read(timed(**times))

    def test_counts_the_second_of_the_expiry_as_past(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tokens, "time", lambda: float(NOW + 1))
        with pytest.raises(tokens.InvalidToken):
            tokens.read(timed())

    def test_counts_the_second_of_the_issue_as_present(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tokens, "time", lambda: float(NOW))
        assert tokens.read(timed()).session_key == str(KEY)

    @pytest.mark.parametrize("forgery", FORGERIES, ids=lambda forgery: forgery.name)
    def test_rejects_whatever_is_forged(self, forgery: Forgery) -> None:
        token = forgery.token(claims(user_id=7, session_key=KEY))
        with pytest.raises(tokens.InvalidToken) as caught:
            tokens.read(token)

        error = caught.value
        assert (error.status, error.detail) == (401, "Invalid or expired token")
        assert error.headers == {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        assert error.__suppress_context__
        assert traces(token, repr(error), repr(error.__context__), vars(error)) == []

    def test_rejects_a_hundred_and_fifty_forgeries_and_more(self) -> None:
        names = Counter(forgery.name for forgery in FORGERIES)
        assert len(names) >= 150
        assert [name for name, count in names.items() if count > 1] == []

    def test_rejects_every_token_of_which_one_bit_is_flipped(self) -> None:
        good = signed(claims(user_id=7, session_key=KEY))
        assert tokens.read(good).user_id == 7
        accepted = []
        for token in bit_flips(good):
            try:
                tokens.read(token)
            except tokens.InvalidToken:
                continue
            accepted.append(token)
        assert accepted == []

    @given(st.text() | st.text(st.sampled_from('eyJ.A-_=0{}" ')))
    @example("")
    @example("\ud800.\ud800.\ud800")
    def test_rejects_any_text_without_another_exception(self, text: str) -> None:
        with pytest.raises(tokens.InvalidToken):
            tokens.read(text)
