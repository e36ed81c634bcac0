"""Making tokens, good and bad, without the code under test having a say."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms
from jwt.utils import base64url_encode


class Marker(Enum):
    """A value that is written alike in every process, which the names of tests must be."""

    ABSENT = "absent"


ABSENT = Marker.ABSENT
"""As the value of a claim or a header field: leave it out."""


@dataclass(frozen=True)
class SigningKey:
    """A private key, as Supabase's Auth server holds it, and its public JWK."""

    algorithm: str
    private: Any
    kid: str

    def sign(self, data: bytes) -> bytes:
        return get_default_algorithms()[self.algorithm].sign(data, self.private)

    def jwk(self) -> dict[str, Any]:
        public = get_default_algorithms()[self.algorithm].to_jwk(
            self.private.public_key(), as_dict=True
        )
        facts = {"alg": self.algorithm, "kid": self.kid, "use": "sig", "key_ops": ["verify"]}
        return {**public, **facts, "ext": True}


def make_key(algorithm: str = "ES256", *, kid: str | None = None) -> SigningKey:
    makers: dict[str, Callable[[], Any]] = {
        "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "RS256": rsa_key,
        "EdDSA": ed25519.Ed25519PrivateKey.generate,
    }
    return SigningKey(algorithm, makers[algorithm](), kid or str(uuid4()))


@cache
def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    """Making one takes a good part of a second, so the tests share it."""
    return rsa.generate_private_key(65537, bits)


def compact(header: object, claims: object, sign: Callable[[bytes], bytes]) -> str:
    """Return a compact JWS; header and claims are bytes as they are, or else made JSON."""
    parts = [part if isinstance(part, bytes) else to_json(part) for part in (header, claims)]
    signing_input = b".".join(map(base64url_encode, parts))
    return b".".join([signing_input, base64url_encode(sign(signing_input))]).decode()


def hmac_signer(secret: bytes, algorithm: str = "HS256") -> Callable[[bytes], bytes]:
    """Sign with any secret: PyJWT itself refuses to sign with a public key."""
    hmac = get_default_algorithms()[algorithm]
    return lambda data: hmac.sign(data, secret)


def to_json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def without_absent(members: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in members.items() if value is not ABSENT}
