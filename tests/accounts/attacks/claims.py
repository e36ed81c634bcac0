"""Tokens with a good signature and a claim that is missing, mistyped, malformed or foreign."""

import json
from collections.abc import Callable
from typing import Any

from tests.accounts.attacks.attack import Attack
from tests.fakes import FakeSupabase
from tests.signing import ABSENT, compact

MISTYPED: list[object] = [None, True, False, 0, 1.5, [], {}, ["a"], {"a": "b"}]
REQUIRED = ("iss", "aud", "exp", "iat", "sub", "role", "session_id")
TEXT_CLAIMS = ("iss", "aud", "sub", "role", "session_id", "email")
NUMBER_CLAIMS = ("exp", "iat", "nbf")
NO_NUMBERS: list[object] = [
    *[None, True, False, [], {}, "", " ", "1", "9999999999", "1e9", "0x7fffffff", "Infinity"],
    *["\u0661\u0667\u0666\u0667", [1], {"seconds": 1}, float("nan"), float("inf"), -float("inf")],
]
IDS: dict[str, object] = {
    "empty": "",
    "a space": " ",
    "a word": "ada",
    "a number as text": "1",
    "nil": "00000000-0000-0000-0000-000000000000",
    "in capitals": "2F1B3C4D-5E6F-4A7B-8C9D-0E1F2A3B4C5D",
    "without hyphens": "2f1b3c4d5e6f4a7b8c9d0e1f2a3b4c5d",
    "in braces": "{2f1b3c4d-5e6f-4a7b-8c9d-0e1f2a3b4c5d}",
    "a URN": "urn:uuid:2f1b3c4d-5e6f-4a7b-8c9d-0e1f2a3b4c5d",
    "with a space": "2f1b3c4d-5e6f-4a7b-8c9d-0e1f2a3b4c5d ",
    "with a newline": "2f1b3c4d-5e6f-4a7b-8c9d-0e1f2a3b4c5d\n",
    "with a NUL": "2f1b3c4d-5e6f-4a7b-8c9d-0e1f2a3b4c5d\0",
    "with an underscore": "2f1b3c4d-5e6f-4a7b-8c9d-0e1f2a3b4c_5",
    "with full-width digits": "\uff12f1b3c4d-5e6f-4a7b-8c9d-0e1f2a3b4c5d",
    "with other hyphens": "2f1b3c4d5-e6f-4a7b-8c9d-0e1f2a3b4c5d",
    "too short": "2f1b3c4d-5e6f-4a7b-8c9d-0e1f2a3b4c5",
    "too long": "2f1b3c4d-5e6f-4a7b-8c9d-0e1f2a3b4c5d0",
    "SQL": "' OR 1=1 --",
    "the number of a user": 1,
}
AUDIENCES: list[object] = [
    *[
        "",
        "anon",
        "service_role",
        "megapolis-api",
        "Authenticated",
        "authenticated ",
        "authenticate",
    ],
    *[["anon"], ["authenticated", "anon"], ["anon", "authenticated"], ["authenticated", 1]],
    *[[["authenticated"]], ["authenticated", None], "authenticated,anon", {"authenticated": True}],
]
EMAILS: list[object] = [
    *["ada", "@", "ada@", "@example.com", "ada@@example.com", "ada@example@com", " ", "\n"],
    *["a da@example.com", "ada\n@example.com", "ada@example.com\n", "ada@example.com\0"],
    *["ada\u202e@example.com", "ada\u200b@example.com", "ada@exa\u00a0mple.com", "ada\x7f@a.com"],
    *["ada\uff20example\uff20com", f"{'a' * 243}@example.com", f"{'\ufdfa' * 20}@example.com"],
]
NO_METHODS: list[object] = [
    *["", "password", "oauth_provider/authorization_code", {}, 0, 1, True, False],
    *[{"method": "oauth_provider/authorization_code"}, [None], [1], [True], [[]], [{}]],
    *[[["oauth_provider/authorization_code"]], [{"method": None}], [{"method": ["password"]}]],
    *[[{"method": {"method": "oauth_provider/authorization_code"}}], ["password", None]],
    *[[{"Method": "password"}], [{"timestamp": 1}]],
]
NO_BOOLEANS: list[object] = [None, 0, 1, "", "true", "false", [], {}]
ISSUERS: dict[str, Callable[[str], object]] = {
    "with a slash": lambda iss: f"{iss}/",
    "with two slashes": lambda iss: iss.replace("/auth", "//auth"),
    "without its path": lambda iss: iss.removesuffix("/auth/v1"),
    "of another version": lambda iss: iss.replace("v1", "v2"),
    "with more path": lambda iss: f"{iss}/more",
    "with a query": lambda iss: f"{iss}?a=b",
    "with a fragment": lambda iss: f"{iss}#a",
    "in capitals": str.upper,
    "with HTTP in capitals": lambda iss: iss.replace("http", "HTTP"),
    "over https": lambda iss: iss.replace("http:", "https:"),
    "without a scheme": lambda iss: iss.removeprefix("http:"),
    "at another port": lambda iss: iss.replace("/auth", "0/auth"),
    "under another name": lambda iss: iss.replace("127.0.0.1", "localhost"),
    "with a user": lambda iss: iss.replace("://", "://user@"),
    "as somebody's user": lambda iss: iss.replace("/auth", "@example.com/auth"),
    "with a dot more": lambda iss: iss.replace("127.0.0.1", "127.0.0.1."),
    "with a space": lambda iss: f"{iss} ",
    "with a newline": lambda iss: f"{iss}\n",
    "with a NUL": lambda iss: f"{iss}\0",
    "with a zero-width space": lambda iss: f"{iss}\u200b",
    "in full-width letters": lambda iss: iss.replace("auth", "\uff41uth"),
    "with a Cyrillic letter": lambda iss: iss.replace("auth", "\u0430uth"),
    "in percent signs": lambda iss: iss.replace("auth", "%61uth"),
    "by a way round": lambda iss: iss.replace("/auth", "/x/../auth"),
    "of another project": lambda _: "https://abcdefghijklmnopqrst.supabase.co/auth/v1",
    "of another product": lambda _: "https://accounts.google.com",
    "as older projects had it": lambda _: "supabase",
    "of the stand-in": lambda _: "https://stand-in.invalid/auth/v1",
    "empty": lambda _: "",
    "the path only": lambda _: "/auth/v1",
    "in a list": lambda iss: [iss],
}
TIMES: dict[str, dict[str, float]] = {
    "expired a minute ago": {"exp": -60},
    "expired beyond the leeway": {"exp": -31},
    "expired a year ago": {"exp": -31_536_000, "iat": -31_540_000},
    "expires in two days": {"exp": 172_800},
    "expires in ten years": {"exp": 315_360_000},
    "issued in two minutes": {"iat": 120},
    "issued tomorrow": {"iat": 86_400},
    "not before two minutes": {"nbf": 120},
    "not before next year": {"nbf": 31_536_000},
}
RAW_TIMES = ("0", "-1", "1e309", "-1e309", "1E400", "1" * 310, "-0", "01", "+1", ".5", "1_0", "0x1")


def with_claim(claim: str, value: Any) -> Callable[[FakeSupabase], str]:
    return lambda fake: fake.token(**{claim: value})


def with_issuer(change: Callable[[str], object]) -> Callable[[FakeSupabase], str]:
    return lambda fake: fake.token(iss=change(fake.issuer))


def with_times(changes: dict[str, float]) -> Callable[[FakeSupabase], str]:
    """Claims set to so many seconds from now."""

    def token(fake: FakeSupabase) -> str:
        times: dict[str, Any] = {name: int(fake.clock() + n) for name, n in changes.items()}
        return fake.token(**times)

    return token


def in_milliseconds(claim: str) -> Callable[[FakeSupabase], str]:
    return lambda fake: with_claim(claim, int(fake.clock() * 1000))(fake)


def raw_claims(
    change: Callable[[str], str], encoding: str = "utf-8"
) -> Callable[[FakeSupabase], str]:
    """The claims' own JSON text, changed and signed."""

    def token(fake: FakeSupabase) -> str:
        key = fake.key("ES256")
        text = change(json.dumps(fake.claims()))
        payload = text.encode(encoding, "surrogatepass")
        return compact({"alg": "ES256", "kid": key.kid, "typ": "JWT"}, payload, key.sign)

    return token


def also(member: str) -> Callable[[str], str]:
    return lambda text: f"{text[:-1]}, {member}}}"


RAW: dict[str, Callable[[str], str]] = {
    "sub twice": also('"sub": "2f1b3c4d-5e6f-4a7b-8c9d-0e1f2a3b4c5d"'),
    "exp twice": also('"exp": 1'),
    "role twice, the same": also('"role": "authenticated"'),
    "aud twice, once escaped": also('"\\u0061ud": "authenticated"'),
    "is_anonymous twice": also('"is_anonymous": false'),
    "a member of the metadata twice": also('"extra": {"a": 1, "a": 1}'),
    "a member in a list twice": also('"extra": [{"a": 1, "a": 2}]'),
    "a lone surrogate": also('"extra": "\\ud800"'),
    "a lone surrogate in a name": also('"\\udfff": 1'),
    "a raw surrogate": also('"extra": "\ud800"'),
    "NaN in the metadata": also('"extra": NaN'),
    "a raw control character": also('"extra": "\x01"'),
    "deep nesting": also('"extra": ' + "[" * 2000 + "]" * 2000),
    "a comment": lambda text: text + "//",
    "a second object": lambda text: text * 2,
    "a byte order mark": lambda text: f"\ufeff{text}",
    "single quotes": lambda text: text.replace('"', "'"),
    "a trailing comma": lambda text: f"{text[:-1]},}}",
    "a list around them": lambda text: f"[{text}]",
    "text around them": json.dumps,
    "null": lambda _: "null",
    "a number": lambda _: "1",
    "nothing": lambda _: "",
    "an empty object": lambda _: "{}",
    "half of them": lambda text: text[: len(text) // 2],
}


def raw_time(claim: str, literal: str) -> Callable[[FakeSupabase], str]:
    return raw_claims(lambda text: text.replace(f'"{claim}": ', f'"{claim}": {literal}, "was": '))


CLAIMS = [
    *[Attack(f"{claim} missing", with_claim(claim, ABSENT)) for claim in REQUIRED],
    *[
        Attack(f"{claim} {value!r}", with_claim(claim, value))
        for claim in TEXT_CLAIMS
        for value in MISTYPED
    ],
    *[
        Attack(f"{claim} {value!r}", with_claim(claim, value))
        for claim in NUMBER_CLAIMS
        for value in NO_NUMBERS
    ],
    *[
        Attack(f"{claim} {name}", with_claim(claim, value))
        for claim in ("sub", "session_id")
        for name, value in IDS.items()
    ],
    *[Attack(f"aud {value!r}", with_claim("aud", value)) for value in AUDIENCES],
    Attack("role empty", with_claim("role", "")),
    *[Attack(f"email {value!r}", with_claim("email", value)) for value in EMAILS],
    *[
        Attack(f"is_anonymous {value!r}", with_claim("is_anonymous", value))
        for value in NO_BOOLEANS
    ],
    *[Attack(f"amr {value!r}", with_claim("amr", value)) for value in NO_METHODS],
    *[Attack(f"iss {name}", with_issuer(change)) for name, change in ISSUERS.items()],
    *[Attack(name, with_times(changes)) for name, changes in TIMES.items()],
    *[Attack(f"{claim} in milliseconds", in_milliseconds(claim)) for claim in NUMBER_CLAIMS],
    *[Attack(f"exp written as {text[:9]}", raw_time("exp", text)) for text in RAW_TIMES],
    *[Attack(f"claims with {name}", raw_claims(change)) for name, change in RAW.items()],
    *[
        Attack(f"claims in {encoding}", raw_claims(str, encoding))
        for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig")
    ],
    Attack("claims in Latin-1", raw_claims(also('"extra": "\u00e9"'), "latin-1")),
]
