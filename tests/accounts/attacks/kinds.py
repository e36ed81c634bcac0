"""Genuine tokens, and other secrets, that are not a user's own session with this project."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any
from uuid import uuid4

from accounts import tokens
from megapolis import environment
from tests.accounts.attacks.attack import Attack
from tests.fakes import FakeSupabase
from tests.signing import ABSENT, compact, hmac_signer, make_key, to_json


def by_a_stranger(fake: FakeSupabase) -> str:
    return fake.token(make_key())


def by_a_stranger_with_our_kid(algorithm: str) -> Callable[[FakeSupabase], str]:
    return lambda fake: fake.token(make_key(algorithm, kid=fake.key(algorithm).kid))


def of_another_project(fake: FakeSupabase) -> str:
    other = "https://abcdefghijklmnopqrst.supabase.co/auth/v1"
    return fake.token(make_key(), iss=other)


def id_token(*, audience: str) -> Callable[[FakeSupabase], str]:
    """What OpenID Connect gives a third party's client, signed with the same key."""

    def token(fake: FakeSupabase) -> str:
        without: dict[str, Any] = dict.fromkeys(
            ("role", "session_id", "aal", "amr", "is_anonymous"), ABSENT
        )
        client: dict[str, Any] = {
            "aud": audience,
            "nonce": "n",
            "at_hash": "h",
            "auth_time": int(fake.clock()),
        }
        return fake.token(**without, **client)

    return token


def our_own(_: FakeSupabase) -> str:
    expires_at = datetime.now(UTC) + timedelta(days=1)
    return tokens.issue(
        user_id=1, email="ada@example.com", session_key=uuid4(), expires_at=expires_at
    )


def with_our_secret(fake: FakeSupabase) -> str:
    signer = hmac_signer(environment.JWT_SECRET_KEY.encode())
    return compact({"alg": "HS256", "typ": "JWT"}, fake.claims(), signer)


def api_key_as_user(role: str) -> Callable[[FakeSupabase], str]:
    """An API key dressed up with all that a user's token has but the role."""
    return lambda fake: fake.legacy_token(role=role)


def jwk_text(fake: FakeSupabase) -> str:
    return to_json(fake.keys[0].jwk()).decode()


FORBIDDEN: dict[str, dict[str, Any]] = {
    "an anonymous user": {"is_anonymous": True, "email": "", "amr": [{"method": "anonymous"}]},
    "an anonymous user with an email": {"is_anonymous": True},
    "a third party's client": {"client_id": str(uuid4())},
    "a third party's client with scopes": {"client_id": str(uuid4()), "scope": "openid email"},
    "a client without a name": {"client_id": ""},
    "a client that is null": {"client_id": None},
    "role service_role": {"role": "service_role"},
    "role anon": {"role": "anon"},
    "role supabase_admin": {"role": "supabase_admin"},
    "role in capitals": {"role": "AUTHENTICATED"},
    "role with a space": {"role": "authenticated "},
    "role of a longer name": {"role": "authenticated_admin"},
}

CLIENT_METHOD = "oauth_provider/authorization_code"
CLIENT_CLAIMS: dict[str, dict[str, Any]] = {
    "client_id": {"client_id": str(uuid4())},
    "scope": {"scope": "openid email"},
}
CLIENT_METHODS: dict[str, list[object]] = {
    "amr": [{"method": CLIENT_METHOD, "timestamp": 1}],
    "amr beside another method": [
        {"method": "password", "timestamp": 1},
        {"method": CLIENT_METHOD, "timestamp": 2},
    ],
    "amr before another method": [{"method": CLIENT_METHOD}, {"method": "password"}],
    "amr as text": [CLIENT_METHOD],
    "amr as text beside an object": [{"method": "password", "timestamp": 1}, CLIENT_METHOD],
    "amr with more members": [{"provider": "x", "timestamp": 1, "method": CLIENT_METHOD}],
    "amr of another grant": [{"method": "oauth_provider/refresh_token", "timestamp": 1}],
}
SECOND_FACTOR: dict[str, Any] = {"method": "totp", "timestamp": 3}


def client_marks() -> dict[str, dict[str, Any]]:
    """Every combination of the marks of a third party's client, with each level of assurance."""
    found: dict[str, dict[str, Any]] = {
        "scope empty": {"scope": ""},
        "scope null": {"scope": None},
        "scope a list": {"scope": ["openid"]},
    }
    sets = [names for size in range(3) for names in combinations(CLIENT_CLAIMS, size)]
    for names in sets:
        claims = {key: value for name in names for key, value in CLIENT_CLAIMS[name].items()}
        if names:
            found[" and ".join(names)] = claims
        for name, methods in CLIENT_METHODS.items():
            found[" and ".join((*names, name))] = claims | {"amr": methods}
    second = {
        f"{name}, with a second factor": claims
        | {"aal": "aal2", "amr": [SECOND_FACTOR, *claims.get("amr", ["password"])]}
        for name, claims in found.items()
    }
    return found | second


FORBIDDEN |= {f"a client marked by {name}": claims for name, claims in client_marks().items()}


def forbidden(claims: dict[str, Any]) -> Callable[[FakeSupabase], str]:
    return lambda fake: fake.token(**claims)


def forbidden_legacy(claims: dict[str, Any]) -> Callable[[FakeSupabase], str]:
    return lambda fake: fake.legacy_token(**claims)


KINDS = [
    *[Attack(name, forbidden(claims), 403) for name, claims in FORBIDDEN.items()],
    *[Attack(f"legacy, {name}", forbidden_legacy(c), 403) for name, c in FORBIDDEN.items()],
    Attack("the anon key", lambda fake: fake.legacy_api_key("anon")),
    Attack("the service_role key", lambda fake: fake.legacy_api_key("service_role")),
    Attack("the anon key with a user's claims", api_key_as_user("anon"), 403),
    Attack("the service_role key with a user's claims", api_key_as_user("service_role"), 403),
    Attack("service_role without a user", lambda fake: fake.token(role="service_role", sub="")),
    Attack("the publishable key", lambda fake: fake.publishable_key),
    Attack("the secret key", lambda fake: fake.secret_key),
    Attack("the secret key in three parts", lambda fake: f"a.{fake.secret_key}.b"),
    Attack("the legacy secret", lambda fake: fake.legacy_secret),
    Attack("a public key", jwk_text),
    Attack("a user's number", lambda _: "1"),
    Attack("a refresh token", lambda _: "v1.MjAyNg.b3BhcXVl"),
    Attack("an authorization code", lambda _: str(uuid4())),
    Attack("an id_token", id_token(audience="2f1b3c4d-5e6f-4a7b-8c9d-0e1f2a3b4c5d")),
    Attack("an id_token for a client named authenticated", id_token(audience="authenticated")),
    Attack("signed by a stranger", by_a_stranger),
    *[
        Attack(
            f"signed by a stranger with our {algorithm} kid", by_a_stranger_with_our_kid(algorithm)
        )
        for algorithm in ("ES256", "EdDSA")
    ],
    Attack("of another project", of_another_project),
    Attack(
        "of another project, signed here",
        lambda fake: fake.token(iss="https://a.supabase.co/auth/v1"),
    ),
    Attack("our own token", our_own),
    Attack("a Supabase token signed with our secret", with_our_secret),
    Attack("a legacy token cut by one", lambda fake: fake.legacy_token()[:-1]),
    Attack(
        "a legacy token of another project",
        lambda fake: fake.legacy_token(iss="https://a.co/auth/v1"),
    ),
    Attack("an expired legacy token", lambda fake: fake.legacy_token(exp=int(fake.clock()) - 60)),
    Attack(
        "a legacy token that expires in a year",
        lambda fake: fake.legacy_token(exp=int(fake.clock()) + 31_536_000),
    ),
]
