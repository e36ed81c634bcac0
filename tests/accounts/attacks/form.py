"""Texts that are not quite a compact token, though a good one was their beginning."""

import json
from collections.abc import Callable

from jwt.utils import base64url_encode

from tests.accounts.attacks.attack import Attack
from tests.fakes import FakeSupabase
from tests.signing import compact, to_json

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def part(index: int, change: Callable[[str], str]) -> Callable[[str], str]:
    def changed(token: str) -> str:
        parts = token.split(".")
        parts[index] = change(parts[index])
        return ".".join(parts)

    return changed


def next_last_letter(text: str) -> str:
    """The same bytes for a lenient decoder: only bits that it throws away differ."""
    return text[:-1] + ALPHABET[ALPHABET.index(text[-1]) ^ 1]


def general_json(token: str) -> str:
    header, claims, signature = token.split(".")
    signatures = [{"protected": header, "signature": signature}]
    return json.dumps({"payload": claims, "signatures": signatures})


def flattened_json(token: str) -> str:
    names = ("protected", "payload", "signature")
    return json.dumps(dict(zip(names, token.split("."), strict=True)))


TEXTS: dict[str, Callable[[str], str]] = {
    "one dot": lambda _: ".",
    "two dots": lambda _: "..",
    "dots only": lambda _: "." * 100,
    "a word": lambda _: "token",
    "null": lambda _: "null",
    "the header only": lambda token: token.split(".")[0],
    "without the signature's part": lambda token: token.rpartition(".")[0],
    "with a trailing dot": lambda token: f"{token}.",
    "with a leading dot": lambda token: f".{token}",
    "four parts": lambda token: f"{token}.AAAA",
    "five parts, as encrypted": lambda token: f"{token}.AAAA.AAAA",
    "twice": lambda token: token * 2,
    "parts swapped": lambda token: ".".join(reversed(token.split("."))),
    "empty header": part(0, lambda _: ""),
    "empty claims": part(1, lambda _: ""),
    "empty signature": part(2, lambda _: ""),
    "cut to a half": lambda token: token[: len(token) // 2],
    "cut by one": lambda token: token[:-1],
    "cut by four": lambda token: token[:-4],
    "without its first letter": lambda token: token[1:],
    "with a letter more": lambda token: f"{token}A",
    "padded with =": lambda token: f"{token}=",
    "padded with ==": lambda token: f"{token}==",
    "header padded": part(0, lambda text: text + "=" * (-len(text) % 4 or 4)),
    "claims padded": part(1, lambda text: text + "=" * (-len(text) % 4 or 4)),
    "signature with other spare bits": part(2, next_last_letter),
    "other alphabet": lambda token: token.replace("-", "+").replace("_", "/") + "+/",
    "in percent signs": lambda token: token.replace(".", "%2E"),
    "with Bearer": lambda token: f"Bearer {token}",
    "in quotes": lambda token: f'"{token}"',
    "with a leading space": lambda token: f" {token}",
    "with a trailing space": lambda token: f"{token} ",
    "with a space in the claims": part(1, lambda text: f"{text[:8]} {text[8:]}"),
    "with a plus": part(1, lambda text: f"{text[:8]}+{text[8:]}"),
    "with a slash": part(2, lambda text: f"{text}/"),
    "with an asterisk": part(0, lambda text: f"{text}*"),
    "with full-width letters": part(2, lambda text: chr(ord(text[0]) + 0xFEE0) + text[1:]),
    "with a Cyrillic letter": part(1, lambda text: f"\u0435{text[1:]}"),
    "with a full stop of another script": lambda token: token.replace(".", "\u3002"),
    "with a zero-width space": lambda token: f"{token}\u200b",
    "with a byte order mark": lambda token: f"\ufeff{token}",
    "as general JSON": general_json,
    "as flattened JSON": flattened_json,
    "as a fragment": lambda token: f"#access_token={token}&token_type=bearer",
    "too long by the signature": lambda token: token + "A" * 8192,
    "a megabyte of dots": lambda _: "." * 12_000,
}
CONTROLS: dict[str, Callable[[str], str]] = {
    "with a trailing newline": lambda token: f"{token}\n",
    "with a newline in the claims": part(1, lambda text: f"{text[:8]}\n{text[8:]}"),
    "with CRLF": lambda token: token.replace(".", "\r\n."),
    "with a tab": lambda token: f"\t{token}",
    "with a NUL": lambda token: f"{token}\0",
    "with a NUL inside": part(0, lambda text: f"{text[:4]}\0{text[4:]}"),
    "with a lone surrogate": lambda token: f"{token}\ud800",
}


def changed(change: Callable[[str], str]) -> Callable[[FakeSupabase], str]:
    return lambda fake: change(fake.token())


def spare_bits(index: int) -> Callable[[FakeSupabase], str]:
    """A part whose last letter has bits to spare, which are set."""

    def token(fake: FakeSupabase) -> str:
        key = fake.key("ES256")
        contents = [to_json({"alg": "ES256", "kid": key.kid}), to_json(fake.claims())]
        padded = [text + b" " * ((1 - len(text)) % 3) for text in contents]
        parts = [base64url_encode(text).decode() for text in padded]
        parts[index] = next_last_letter(parts[index])
        signing_input = ".".join(parts)
        signature = base64url_encode(key.sign(signing_input.encode())).decode()
        return f"{signing_input}.{signature}"

    return token


def oversized(fake: FakeSupabase) -> str:
    return fake.token(user_metadata={"padding": "x" * 6000})


def nested(fake: FakeSupabase) -> str:
    """A good token as the payload of another (RFC 7519, section 5.2)."""
    key = fake.key("ES256")
    return compact({"alg": "ES256", "kid": key.kid}, fake.token().encode(), key.sign)


FORM = [
    Attack("empty", lambda _: "", text_status=422),
    *[Attack(f"token {name}", changed(change)) for name, change in TEXTS.items()],
    *[
        Attack(f"token {name}", changed(change), text_status=422)
        for name, change in CONTROLS.items()
    ],
    Attack("header with other spare bits", spare_bits(0)),
    Attack("claims with other spare bits", spare_bits(1)),
    Attack("longer than 8 KiB", oversized),
    Attack("a token in a token", nested),
]
