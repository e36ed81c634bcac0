"""Parse the key set of a Supabase project (JWK Set, RFC 7517)."""

from jwt import PyJWK
from jwt.exceptions import PyJWTError

from accounts.jose import read_object

MIN_RSA_BITS = 2048
"""RFC 7518, section 3.3."""


class MalformedKeySet(Exception):
    """A key set without any key that can be used."""


def read_key_set(body: bytes) -> dict[str, PyJWK]:
    """Return the keys that may verify a token, by `kid`. If a `kid` occurs twice, the first wins.

    Other keys and malformed keys are skipped. A project that still signs with the legacy secret has
    an empty set. Raises MalformedToken if the body is not a JSON object, and MalformedKeySet if no
    key can be used.
    """
    entries = read_object(body).get("keys")
    if not isinstance(entries, list):
        raise MalformedKeySet
    keys: dict[str, PyJWK] = {}
    for entry in entries:
        key = read_key(entry)
        if key is not None:
            keys.setdefault(str(key.key_id), key)
    if entries and not keys:
        raise MalformedKeySet
    return keys


def read_key(jwk: object) -> PyJWK | None:
    """Return a public key bound to its one signature algorithm, or None if it cannot be used."""
    if not isinstance(jwk, dict):
        return None
    match jwk:
        case {"kty": "EC", "crv": "P-256", "kid": str(), "x": str(), "y": str()}:
            algorithm = "ES256"
        case {"kty": "RSA", "kid": str(), "n": str(), "e": str()}:
            algorithm = "RS256"
        case {"kty": "OKP", "crv": "Ed25519", "kid": str(), "x": str()}:
            algorithm = "EdDSA"
        case _:
            return None
    if not _may_verify(jwk, algorithm):
        return None
    try:
        key = PyJWK(jwk, algorithm)
    except PyJWTError:
        return None
    if algorithm == "RS256" and key.key.key_size < MIN_RSA_BITS:
        return None
    return key


def _may_verify(jwk: dict[str, object], algorithm: str) -> bool:
    """Return whether the key may verify. A published private key (`d`) proves nothing."""
    operations = jwk.get("key_ops", ["verify"])
    return (
        jwk.get("alg", algorithm) == algorithm
        and jwk.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
        and "d" not in jwk
    )
