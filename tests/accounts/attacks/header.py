"""Tokens with good claims whose header asks for something else than a look at our keys."""

from collections.abc import Callable

from jwt.utils import base64url_encode

from tests.accounts.attacks.attack import Attack
from tests.fakes import ELSEWHERE, FakeSupabase
from tests.signing import ABSENT, compact, make_key, to_json

NONES: list[object] = [
    *["none", "None", "NONE", "nOnE", "none ", " none", "none\0", "n\u043ene", "NoNe\n", "null"],
    *["", "undefined", "unsecured", ABSENT, None, 0, False, True, [], {}],
    *[["none"], ["ES256"], {"alg": "ES256"}, ["ES256", "none"]],
]
FIELDS: dict[str, object] = {
    "crit": ["exp"],
    "crit empty": [],
    "crit text": "exp",
    "b64": False,
    "b64 true": True,
    "zip": "DEF",
    "cty": "JWT",
    "enc": "A256GCM",
    "apu": "QQ",
    "epk": {"kty": "EC", "crv": "P-256"},
    "iss": "https://example.com",
    "nonce": "1",
    "url": "https://example.com/keys",
    "x5t": "AAAA",
    "x5t#S256": "AAAA",
    "Alg": "none",
    "ALG": "ES256",
    "": "",
    "__proto__": {"alg": "none"},
}
TYPES: list[object] = [
    *["at+jwt", "JOSE", "jwt", "JWT ", "", "JWE", "id_token+jwt", "dpop+jwt", "logout+jwt"],
    *[None, 1, True, ["JWT"], {"JWT": True}],
]
KEY_IDS: dict[str, object] = {
    "missing": ABSENT,
    "empty": "",
    "unknown": "11111111-2222-4333-8444-555555555555",
    "null": None,
    "0": 0,
    "1": 1,
    "1.5": 1.5,
    "true": True,
    "a list": [],
    "an object": {},
    "a file": "/dev/null",
    "a path upwards": "../../../../../../dev/null",
    "a Windows path": "..\\..\\windows\\win.ini",
    "a URL": "https://example.com/key.pem",
    "a file URL": "file:///etc/passwd",
    "SQL": "' UNION SELECT 'secret' --",
    "a command": "key; sleep 10 #",
    "a template": "{{7*7}}${7*7}%(a)s{0}",
    "a lookup": "${jndi:ldap://127.0.0.1/a}",
    "NUL": "\0",
    "CRLF": "a\r\nSet-Cookie: a=b",
    "a wildcard": "*",
    "huge": "k" * 5000,
    "right-to-left": "\u202ekid",
    "an attribute": "__class__",
}
AWRY: dict[str, Callable[[str], object]] = {
    "with a space": lambda kid: f"{kid} ",
    "with a NUL": lambda kid: f"{kid}\0",
    "in capitals": str.upper,
    "without hyphens": lambda kid: kid.replace("-", ""),
    "in braces": lambda kid: f"{{{kid}}}",
    "in a list": lambda kid: [kid],
    "in an object": lambda kid: {"kid": kid},
    "cut short": lambda kid: kid[:-1],
}


def with_kid(change: Callable[[str], object]) -> Callable[[FakeSupabase], str]:
    return lambda fake: fake.token(header={"kid": change(fake.keys[0].kid)})


def kid_of(other: str) -> Callable[[FakeSupabase], str]:
    return lambda fake: fake.token(fake.key("ES256"), {"kid": fake.key(other).kid})


def unsecured(alg: object, signature: bytes | None) -> Callable[[FakeSupabase], str]:
    def token(fake: FakeSupabase) -> str:
        key = fake.key("ES256")
        header = {"kid": key.kid, "typ": "JWT"} | ({} if alg is ABSENT else {"alg": alg})
        sign = key.sign if signature is None else lambda _: signature
        return compact(header, fake.claims(), sign)

    return token


def with_header(field: str, value: object) -> Callable[[FakeSupabase], str]:
    return lambda fake: fake.token(header={field: value})


def with_own_key(field: str) -> Callable[[FakeSupabase], str]:
    """The attacker's key, sent along or waiting at an address."""

    def token(fake: FakeSupabase) -> str:
        mine = make_key(kid=fake.keys[0].kid)
        values: dict[str, object] = {
            "jwk": mine.jwk(),
            "jku": f"{fake.url}{ELSEWHERE}",
            "x5u": f"{fake.url}{ELSEWHERE}",
            "x5c": [base64url_encode(to_json(mine.jwk())).decode()],
        }
        return fake.token(mine, {field: values[field]})

    return token


def raw_header(template: str) -> Callable[[FakeSupabase], str]:
    """A header in this very text, in which KID stands for the good one."""

    def token(fake: FakeSupabase) -> str:
        key = fake.key("ES256")
        header = template.replace("KID", key.kid).encode("utf-8", "surrogatepass")
        return compact(header, fake.claims(), key.sign)

    return token


RAW: dict[str, str] = {
    "alg twice, none first": '{"alg":"none","alg":"ES256","kid":"KID"}',
    "alg twice, none last": '{"alg":"ES256","alg":"none","kid":"KID"}',
    "alg twice, the same": '{"alg":"ES256","alg":"ES256","kid":"KID"}',
    "alg twice, once escaped": '{"\\u0061lg":"none","alg":"ES256","kid":"KID"}',
    "kid twice": '{"alg":"ES256","kid":"KID","kid":"KID"}',
    "typ twice": '{"alg":"ES256","kid":"KID","typ":"JWT","typ":"JWT"}',
    "empty": "",
    "an empty object": "{}",
    "null": "null",
    "a text": '"ES256"',
    "a number": "1",
    "a list": '[{"alg":"ES256","kid":"KID"}]',
    "two objects": '{"alg":"ES256","kid":"KID"}{}',
    "cut short": '{"alg":"ES256","kid":"KID"',
    "in single quotes": "{'alg':'ES256','kid':'KID'}",
    "with a comment": '{"alg":"ES256",/**/"kid":"KID"}',
    "with a trailing comma": '{"alg":"ES256","kid":"KID",}',
    "with a byte order mark": '\ufeff{"alg":"ES256","kid":"KID"}',
    "with a lone surrogate": '{"alg":"ES256","kid":"KID\\ud800"}',
    "with a raw surrogate": '{"alg":"ES256","kid":"KID\ud800"}',
    "with a raw newline": '{"alg":"ES256","kid":"KID\n"}',
    "nested deeply": '{"alg":"ES256","kid":' + "[" * 2500 + "]" * 2500 + "}",
}

HEADER = [
    *[Attack(f"alg {alg!r}, no signature", unsecured(alg, b"")) for alg in NONES],
    *[Attack(f"alg {alg!r}, signed", unsecured(alg, None)) for alg in NONES],
    *[
        Attack(f"header field {name!r}", with_header(name.split(" ")[0], value))
        for name, value in FIELDS.items()
    ],
    *[Attack(f"typ {value!r}", with_header("typ", value)) for value in TYPES],
    *[Attack(f"kid {name}", with_header("kid", value)) for name, value in KEY_IDS.items()],
    *[Attack(f"kid {name}", with_kid(change)) for name, change in AWRY.items()],
    Attack("kid of the RSA key", kid_of("RS256")),
    Attack("kid of the Ed25519 key", kid_of("EdDSA")),
    *[Attack(f"own key by {field}", with_own_key(field)) for field in ("jwk", "jku", "x5u", "x5c")],
    *[Attack(f"header {name}", raw_header(text)) for name, text in RAW.items()],
]
