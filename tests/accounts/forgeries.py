"""Tokens that are not quite ours: each row has one thing wrong, and is else a good token.

All but the first tables are signed with our secret, so that nothing else can refuse them.
"""

import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import time

from megapolis import environment
from tests.accounts.attacks.form import CONTROLS, TEXTS
from tests.signing import ABSENT, compact, hmac_signer, make_key, without_absent

type Claims = dict[str, object]

SECRET = environment.JWT_SECRET_KEY.encode()
HEADER: dict[str, object] = {"alg": "HS256", "typ": "JWT"}


@dataclass(frozen=True)
class Forgery:
    """`token` takes the claims of a good token."""

    name: str
    token: Callable[[Claims], str]


def claims(*, user_id: int, session_key: object) -> Claims:
    """Return what a good token says."""
    now = int(time())
    return {
        "sub": str(user_id),
        "email": "ada@example.com",
        "exp": now + 3600,
        "iat": now,
        "iss": "megapolis",
        "aud": "megapolis-api",
        "sid": str(session_key),
    }


def signed(claims: object, header: object = HEADER, *, secret: bytes = SECRET) -> str:
    return compact(header, claims, hmac_signer(secret))


def bit_flips(token: str) -> Iterator[str]:
    """Yield the token with each of its bits the other way round, one at a time."""
    octets = token.encode()
    for place, octet in enumerate(octets):
        for bit in range(8):
            changed = bytes([octet ^ 1 << bit])
            yield (octets[:place] + changed + octets[place + 1 :]).decode("latin-1")


def with_secret(secret: bytes) -> Callable[[Claims], str]:
    return lambda good: signed(good, secret=secret)


def with_signature(algorithm: str, signature: bytes = b"") -> Callable[[Claims], str]:
    return lambda good: compact(HEADER | {"alg": algorithm}, good, lambda _: signature)


def with_header(**fields: object) -> Callable[[Claims], str]:
    return lambda good: signed(good, without_absent(HEADER | fields))


def with_another_hmac(algorithm: str, header: str) -> Callable[[Claims], str]:
    return lambda good: compact(HEADER | {"alg": header}, good, hmac_signer(SECRET, algorithm))


def with_own_key(algorithm: str, **fields: object) -> Callable[[Claims], str]:
    """Signed by a key pair of the forger's, which the header may bring along."""
    key = make_key(algorithm)
    brought = {name: key.jwk() if value == "own" else value for name, value in fields.items()}
    return lambda good: compact(HEADER | {"alg": algorithm} | brought, good, key.sign)


def with_claim(claim: str, value: object) -> Callable[[Claims], str]:
    return lambda good: signed(without_absent(good | {claim: value}))


def with_changed(claim: str, change: Callable[[str], object]) -> Callable[[Claims], str]:
    return lambda good: signed(good | {claim: change(str(good[claim]))})


def with_time(claim: str, change: Callable[[int], object]) -> Callable[[Claims], str]:
    return lambda good: signed(good | {claim: change(int(time()))})


def with_json(change: Callable[[str], str], encoding: str = "utf-8") -> Callable[[Claims], str]:
    return lambda good: signed(change(json.dumps(good)).encode(encoding, "surrogatepass"))


def with_text(change: Callable[[str], str]) -> Callable[[Claims], str]:
    return lambda good: change(signed(good))


def also(member: str) -> Callable[[str], str]:
    return lambda text: f"{text[:-1]}, {member}}}"


SECRETS: dict[str, bytes] = {
    "nothing": b"",
    "a guess": b"secret",
    "the guide's default": b"change-me",
    "the other secret": environment.SECRET_KEY.encode(),
    "a newline more": SECRET + b"\n",
    "a letter less": SECRET[:-1],
    "our secret in base64": b64encode(SECRET),
    "our secret in the other case": SECRET.swapcase(),
}
NONES = ("none", "None", "NONE", "nOnE", "none ", "null", "")
ALGORITHMS: list[object] = [
    *["HS384", "HS512", "RS256", "ES256", "EdDSA", "PS256", "hs256", "HS256 ", "HS-256", "HMAC"],
    *[ABSENT, None, 256, True, ["HS256"], {"HS256": True}],
]
TYPES: list[object] = [
    *[ABSENT, None, "", "jwt", "Jwt", "JWT ", "at+jwt", "JOSE", "JWS", 1, True, ["JWT"]],
]
FIELDS: dict[str, object] = {
    "kid": "1",
    "cty": "JWT",
    "crit": [],
    "b64": True,
    "zip": "DEF",
    "x5t": "AAAA",
    "jku": "http://127.0.0.1/",
    "x5u": "http://127.0.0.1/",
    "jwk": {"kty": "oct", "k": ""},
    "Alg": "HS256",
    "ALG": "none",
    "": "",
}
OTHERS: dict[str, list[object]] = {
    "sub": [None, 1, 1.0, True, [], ["1"], {"id": "1"}],
    "sid": [None, 1, 1.0, True, [], ["1"], {"id": "1"}],
    "email": [None, 1, True, [], ["ada@example.com"], {}],
    "iss": [None, "", "Megapolis", "megapolis ", "megapolis-api", ["megapolis"], 1, True],
    "aud": [None, "", "authenticated", "megapolis", "Megapolis-API", ["megapolis-api"], 1],
    "exp": [None, True, False, 0, -1, 1.5, 1e300, "", "9999999999", [], [9999999999], {}],
    "iat": [None, True, False, 1.5, -0.5, "", "1", [], [1], {}],
}
EXTRA: dict[str, object] = {
    "nbf": 0,
    "jti": "1",
    "scope": "admin",
    "is_staff": True,
    "Sub": "1",
    "session_id": "1",
    "": "",
    "__proto__": {},
}
IDS: dict[str, Callable[[str], object]] = {
    "with a leading zero": lambda text: f"0{text}",
    "with a plus": lambda text: f"+{text}",
    "with a minus": lambda text: f"-{text}",
    "with a leading space": lambda text: f" {text}",
    "with a trailing space": lambda text: f"{text} ",
    "with a newline": lambda text: f"{text}\n",
    "with a NUL": lambda text: f"{text}\0",
    "with an underscore": lambda text: f"{text}_0",
    "with a fraction": lambda text: f"{text}.0",
    "with an exponent": lambda text: f"{text}e0",
    "in hexadecimal": lambda text: f"0x{text}",
    "in full-width digits": lambda text: text.translate({48 + n: 0xFF10 + n for n in range(10)}),
    "in Arabic digits": lambda text: text.translate({48 + n: 0x660 + n for n in range(10)}),
    "with an Arabic digit behind it": lambda text: f"{text}\u0660",
    "in superscript": lambda _: "\u00b9",
    "as SQL": lambda text: f"{text} OR 1=1",
    "empty": lambda _: "",
    "zero": lambda _: "0",
    "beyond bigint": lambda _: str(2**63),
    "around a bigint": lambda text: str(2**64 + int(text)),
    "of thirty digits": lambda _: "9" * 30,
    "of five thousand digits": lambda _: "9" * 5000,
}
KEYS: dict[str, Callable[[str], object]] = {
    "the serial number of a session": lambda _: "1",
    "in capitals": str.upper,
    "without hyphens": lambda text: text.replace("-", ""),
    "in braces": lambda text: f"{{{text}}}",
    "as a URN": lambda text: f"urn:uuid:{text}",
    "with a leading space": lambda text: f" {text}",
    "with a newline": lambda text: f"{text}\n",
    "with a NUL": lambda text: f"{text}\0",
    "with a digit more": lambda text: f"{text}0",
    "with a digit less": lambda text: text[:-1],
    "in full-width digits": lambda text: text.translate({48 + n: 0xFF10 + n for n in range(10)}),
    "as SQL": lambda text: f"{text}' OR '1'='1",
    "as an array": lambda text: f"{{{text},{text}}}",
    "empty": lambda _: "",
    "nil": lambda _: "00000000-0000-0000-0000-000000000000",
    "of five thousand digits": lambda _: "9" * 5000,
}
TIMES: dict[str, tuple[str, Callable[[int], object]]] = {
    "expired a second ago": ("exp", lambda now: now - 1),
    "expired a year ago": ("exp", lambda now: now - 31_536_000),
    "expires at a fraction": ("exp", lambda now: now + 3600.0),
    "expires by a text": ("exp", lambda now: str(now + 3600)),
    "issued in a minute": ("iat", lambda now: now + 60),
    "issued in milliseconds": ("iat", lambda now: now * 1000),
    "issued at a fraction": ("iat", float),
}
JSON: dict[str, Callable[[str], str]] = {
    "sub twice": also('"sub": "1"'),
    "sub twice, once escaped": also('"\\u0073ub": "1"'),
    "exp twice": also('"exp": 9999999999'),
    "the email twice, the same": also('"email": "ada@example.com"'),
    "exp as 1e10": lambda text: text.replace('"exp": ', '"exp": 1e10, "was": '),
    "exp as Infinity": lambda text: text.replace('"exp": ', '"exp": Infinity, "was": '),
    "exp as -0": lambda text: text.replace('"exp": ', '"exp": -0, "was": '),
    "exp of five thousand digits": lambda text: text.replace('"exp": ', f'"exp": {"9" * 5000}'),
    "a lone surrogate": lambda text: text.replace("ada", "\\ud800"),
    "a raw surrogate": lambda text: text.replace("ada", "\ud800"),
    "a byte order mark": lambda text: f"\ufeff{text}",
    "a list around them": lambda text: f"[{text}]",
    "text around them": json.dumps,
    "a second object": lambda text: text * 2,
    "single quotes": lambda text: text.replace('"', "'"),
    "half of them": lambda text: text[: len(text) // 2],
    "deep nesting": lambda _: "[" * 3000 + "]" * 3000,
    "an empty object": lambda _: "{}",
    "null": lambda _: "null",
    "nothing": lambda _: "",
}

FORGERIES = [
    *[Forgery(f"signed with {name}", with_secret(secret)) for name, secret in SECRETS.items()],
    *[Forgery(f"alg {name!r} without signature", with_signature(name)) for name in NONES],
    *[Forgery(f"signature of {size} bytes", with_signature("HS256", bytes(size)))
      for size in (0, 1, 31, 32, 33, 64)],
    *[Forgery(f"own {algorithm} key", with_own_key(algorithm))
      for algorithm in ("RS256", "ES256", "EdDSA")],
    Forgery("own key in the header", with_own_key("ES256", jwk="own", kid="1")),
    *[Forgery(f"signed by {algorithm}, header {header}", with_another_hmac(algorithm, header))
      for algorithm, header in (("HS384", "HS384"), ("HS512", "HS512"), ("HS384", "HS256"))],
    *[Forgery(f"alg {value!r}", with_header(alg=value)) for value in [*NONES, *ALGORITHMS]],
    *[Forgery(f"typ {value!r}", with_header(typ=value)) for value in TYPES],
    *[Forgery(f"header with {name!r}", with_header(**{name: value}))
      for name, value in FIELDS.items()],
    *[Forgery(f"{claim} missing", with_claim(claim, ABSENT)) for claim in OTHERS],
    *[Forgery(f"{claim} {value!r}", with_claim(claim, value))
      for claim, values in OTHERS.items() for value in values],
    *[Forgery(f"claims with {name!r}", with_claim(name, value)) for name, value in EXTRA.items()],
    *[Forgery(f"{claim} {name}", with_changed(claim, change))
      for claim, changes in (("sub", IDS), ("sid", KEYS)) for name, change in changes.items()],
    *[Forgery(name, with_time(claim, change)) for name, (claim, change) in TIMES.items()],
    *[Forgery(f"claims with {name}", with_json(change)) for name, change in JSON.items()],
    *[Forgery(f"claims in {encoding}", with_json(str, encoding))
      for encoding in ("utf-16", "utf-16-le", "utf-32", "utf-8-sig")],
    *[Forgery(f"token {name}", with_text(change)) for name, change in (TEXTS | CONTROLS).items()],
]  # fmt: skip
