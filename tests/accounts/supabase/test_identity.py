from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from accounts.jose import Jws, MalformedToken
from accounts.models import normalize_email
from accounts.supabase.identity import (
    ForbiddenIdentity,
    Identity,
    InvalidSupabaseToken,
    Rejection,
    SupabaseUnavailable,
    read_identity,
    reject_forbidden,
)
from megapolis.errors import ApiError

NOW = 1_800_000_000.25
LEEWAY = 30
DAY = 86_400
SUB = "2f1b3c4d-5e6f-4a7b-8c9d-0e1f2a3b4c5d"
SESSION = "7c0e0d52-9d5c-4b1e-8d6e-6d1f0a9b8c7d"


def token(**changes: Any) -> Jws:
    claims: dict[str, Any] = {
        "aud": "authenticated",
        "exp": int(NOW) + 3600,
        "iat": int(NOW),
        "sub": SUB,
        "role": "authenticated",
        "session_id": SESSION,
        "email": "ada@example.com",
        "is_anonymous": False,
    }
    return Jws("", "ES256", None, None, claims | changes, b"")


def without(claim: str) -> Jws:
    whole = token()
    whole.claims.pop(claim, None)
    return whole


class TestRefusals:
    def test_answer_with_their_status_and_nothing_of_the_reason(self) -> None:
        refusals: list[ApiError] = [
            InvalidSupabaseToken(),
            ForbiddenIdentity(),
            SupabaseUnavailable(retry_after=7),
        ]
        assert [(refusal.status, refusal.detail, refusal.headers) for refusal in refusals] == [
            (
                401,
                "Invalid Supabase access token",
                {"WWW-Authenticate": 'Bearer error="invalid_token"'},
            ),
            (403, "This kind of Supabase user or token is not accepted", {}),
            (503, "Supabase Auth is temporarily unavailable", {"Retry-After": "7"}),
        ]
        assert all(isinstance(refusal, Rejection) for refusal in refusals)


class TestReadIdentity:
    def test_returns_whose_token_it_is(self) -> None:
        assert read_identity(token(), now=NOW) == Identity(
            supabase_id=UUID(SUB),
            session_id=UUID(SESSION),
            email="ada@example.com",
            expires_at=int(NOW) + 3600,
        )

    def test_takes_a_fraction_of_a_second_for_the_second_it_is_in(self) -> None:
        assert read_identity(token(exp=NOW + 60), now=NOW).expires_at == int(NOW) + 60

    @pytest.mark.parametrize("audience", ["authenticated", ["authenticated"]])
    def test_accepts_the_audience_as_text_or_list(self, audience: object) -> None:
        read_identity(token(aud=audience), now=NOW)

    @pytest.mark.parametrize(
        "audience",
        [None, "", "anon", [], ["anon"], ["authenticated", "anon"], {"authenticated": True}],
    )
    def test_refuses_a_foreign_audience(self, audience: object) -> None:
        with pytest.raises(MalformedToken):
            read_identity(token(aud=audience), now=NOW)

    @pytest.mark.parametrize(
        "times",
        [
            {"exp": NOW - LEEWAY + 0.01},
            {"exp": NOW + LEEWAY + DAY},
            {"exp": NOW + DAY},
            {"iat": NOW + LEEWAY},
            {"iat": 0},
            {"nbf": NOW + LEEWAY},
            {"nbf": 0},
        ],
    )
    def test_accepts_times_within_the_leeway(self, times: dict[str, float]) -> None:
        read_identity(token(**times), now=NOW)

    @pytest.mark.parametrize(
        "times",
        [
            {"exp": NOW - LEEWAY},
            {"exp": NOW + LEEWAY + DAY + 0.01},
            {"exp": -NOW},
            {"exp": 10**300},
            {"iat": NOW + LEEWAY + 0.01},
            {"iat": 10**300},
            {"nbf": NOW + LEEWAY + 0.01},
            {"nbf": 10**300},
        ],
    )
    def test_refuses_times_beyond_the_leeway(self, times: dict[str, float]) -> None:
        with pytest.raises(MalformedToken):
            read_identity(token(**times), now=NOW)

    @pytest.mark.parametrize("claim", ["aud", "exp", "iat", "sub", "role", "session_id"])
    def test_refuses_a_token_without_one_of_the_claims(self, claim: str) -> None:
        with pytest.raises(MalformedToken):
            read_identity(without(claim), now=NOW)

    @pytest.mark.parametrize("claim", ["exp", "iat", "nbf"])
    @pytest.mark.parametrize("value", [None, True, "1800000060", [1]])
    def test_refuses_times_that_are_no_numbers(self, claim: str, value: object) -> None:
        with pytest.raises(MalformedToken):
            read_identity(token(**{claim: value}), now=NOW)

    @pytest.mark.parametrize("value", [None, 0, 1, "false", "true", []])
    def test_refuses_is_anonymous_that_is_no_boolean(self, value: object) -> None:
        with pytest.raises(MalformedToken):
            read_identity(token(is_anonymous=value), now=NOW)

    @pytest.mark.parametrize(
        "amr", [None, [], ["password"], [{"method": "password"}, "otp"], [{"method": "anonymous"}]]
    )
    def test_accepts_methods_in_every_form(self, amr: object) -> None:
        methods = token(amr=amr)
        assert read_identity(methods, now=NOW) == read_identity(without("amr"), now=NOW)
        reject_forbidden(methods)

    @pytest.mark.parametrize(
        ("aal", "level"),
        [("aal2", 2), *[(odd, 1) for odd in ("aal1", "aal3", "AAL2", "", None, 2, ["aal2"])]],
    )
    def test_counts_one_factor_unless_the_claim_says_two(self, aal: object, level: int) -> None:
        assert read_identity(token(aal=aal), now=NOW).aal == level
        assert read_identity(without("aal"), now=NOW).aal == 1

    @pytest.mark.parametrize("role", [None, "", 1, ["authenticated"]])
    def test_refuses_a_role_that_is_no_text(self, role: object) -> None:
        with pytest.raises(MalformedToken):
            read_identity(token(role=role), now=NOW)


class TestEmail:
    @pytest.mark.parametrize(
        ("claim", "email"),
        [
            ("", None),
            ("Ada@Example.COM", "ada@example.com"),
            ("  ada@example.com ", "ada@example.com"),
            ("\uff21da\uff20example.com", "ada@example.com"),
            ("ada@\u212aelvin.example", "ada@kelvin.example"),
            ("re\u0301a@example.com", "r\u00e9a@example.com"),
            ("ada+b!#$%&'*/=?^_`{|}~@example.com", "ada+b!#$%&'*/=?^_`{|}~@example.com"),
            ("a@b", "a@b"),
            ("a" * 242 + "@example.com", "a" * 242 + "@example.com"),
        ],
    )
    def test_is_normalised(self, claim: str, email: str | None) -> None:
        assert read_identity(token(email=claim), now=NOW).email == email

    def test_is_none_where_the_token_has_none(self) -> None:
        assert read_identity(without("email"), now=NOW).email is None

    @pytest.mark.parametrize(
        "email",
        [
            *[None, 1, True, ["ada@example.com"], {}],
            *["ada", "@", "ada@", "@example.com", "a@b@c", "a@@b", "a@b@", "@a@b", " ", "\t"],
            *["a b@example.com", "ada@exa mple.com", "a\u00a8b@example.com"],
            *["ada@example.com\n", "\rada@example.com", "ada\0@example.com", "a\x7f@example.com"],
            *["ada\u200b@example.com", "ada\u202e@example.com", "ada@exa\u00admple.com"],
            *["\ud800@example.com", "ada\u2028@example.com"],
            "a" * 243 + "@example.com",
        ],
    )
    def test_is_refused_when_it_is_none(self, email: object) -> None:
        with pytest.raises(MalformedToken):
            read_identity(token(email=email), now=NOW)

    @given(st.text() | st.emails())
    @example("\u0130\u0323@a")
    def test_is_clean_whatever_the_claim(self, claim: str) -> None:
        try:
            email = read_identity(token(email=claim), now=NOW).email
        except MalformedToken:
            return
        if email is not None:
            assert email == normalize_email(email)
            assert email.isprintable()
            assert email.count("@") == 1
            assert 3 <= len(email) <= 254


class TestRefuseForbidden:
    def test_lets_a_user_pass(self) -> None:
        reject_forbidden(token())
        reject_forbidden(without("is_anonymous"))

    @pytest.mark.parametrize(
        "claims",
        [
            {"is_anonymous": True},
            {"client_id": "a"},
            {"client_id": ""},
            {"client_id": None},
            {"scope": "openid"},
            {"scope": None},
            {"amr": ["oauth_provider/authorization_code"]},
            {"amr": ["totp", {"method": "oauth_provider/authorization_code"}], "aal": "aal2"},
            {"role": "service_role"},
            {"role": "Authenticated"},
        ],
    )
    def test_refuses_other_kinds_of_users_and_tokens(self, claims: dict[str, Any]) -> None:
        with pytest.raises(ForbiddenIdentity):
            reject_forbidden(token(**claims))
