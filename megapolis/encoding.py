"""Strict readers of JSON and base64url: each accepts what the standard's writer produces."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any, NoReturn

MAX_FIELDS = 1000
"""Most names in one JSON object, as Django allows in one query or form: each may be an error."""


class MalformedJSON(ValueError):
    """Not JSON as RFC 8259 defines it. The message completes "The body ..."."""


class LoneSurrogate(MalformedJSON):
    """A text that has no UTF-8 form."""


def read_json(data: bytes) -> Any:
    r"""Read UTF-8 JSON. Raises `MalformedJSON`, and never another exception.

    Rejects what Python's module accepts: a byte order mark, NaN, duplicate names in one object, and
    lone surrogates (`"\ud800"`).
    """
    try:
        text = data.decode()
        value = _decoder.decode(text)
    except MalformedJSON:
        raise
    except (ValueError, RecursionError):
        raise MalformedJSON("is not valid JSON") from None
    if "\\u" in text:
        _reject_lone_surrogates(value)
    return value


def encode_base64url(data: bytes) -> bytes:
    """Encode without padding (RFC 7515, section 2)."""
    return urlsafe_b64encode(data).rstrip(b"=")


def decode_base64url(encoded: bytes) -> bytes:
    """Decode what `encode_base64url` returns. Raises ValueError for anything else.

    Python's decoder skips foreign characters, and accepts padding, the standard alphabet and
    stray trailing bits. None of these survives encoding the result again.
    """
    data = urlsafe_b64decode(encoded + b"=" * (-len(encoded) % 4))
    if encode_base64url(data) != encoded:
        raise ValueError("not canonical base64url")
    return data


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_FIELDS:
        raise MalformedJSON(f"has more than {MAX_FIELDS} names in one object")
    result = dict(pairs)
    if len(result) != len(pairs):
        raise MalformedJSON("has a name twice in one object")
    return result


def _reject_constant(name: str) -> NoReturn:
    raise MalformedJSON(f"is not valid JSON: {name} is not a number")


def _reject_lone_surrogates(value: Any) -> None:
    """Check every text. Writing the JSON again would find them too, but long numbers take time."""
    pending = [value]
    try:
        while pending:
            value = pending.pop()
            if isinstance(value, str):
                value.encode()
            elif isinstance(value, list):
                pending += value
            elif isinstance(value, dict):
                pending += [*value.keys(), *value.values()]
    except UnicodeEncodeError:
        raise LoneSurrogate("has a lone surrogate, which is not a character") from None


_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_reject_constant)
