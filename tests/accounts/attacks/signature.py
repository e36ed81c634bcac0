"""Tokens with good claims whose signature proves nothing."""

from collections.abc import Callable, Iterator

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import get_default_algorithms
from jwt.utils import base64url_decode

from tests.accounts.attacks.attack import Attack
from tests.fakes import FakeSupabase
from tests.signing import SigningKey, compact, hmac_signer, to_json

HMACS = ("HS256", "HS384", "HS512")
PUBLIC = PublicFormat.SubjectPublicKeyInfo
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def pem(key: SigningKey) -> bytes:
    return public_bytes(Encoding.PEM, PUBLIC)(key)


def public_bytes(encoding: Encoding, form: PublicFormat) -> Callable[[SigningKey], bytes]:
    return lambda key: key.private.public_key().public_bytes(encoding, form)


def member(name: str) -> Callable[[SigningKey], bytes]:
    return lambda key: key.jwk()[name].encode()


def decoded(*names: str) -> Callable[[SigningKey], bytes]:
    return lambda key: b"".join(base64url_decode(key.jwk()[name]) for name in names)


def thumbprint_json(key: SigningKey) -> bytes:
    """The JSON whose hash is the key's thumbprint (RFC 7638)."""
    names = ("crv", "e", "kty", "n", "x", "y")
    return to_json({name: key.jwk()[name] for name in names if name in key.jwk()})


ANY_KEY: dict[str, Callable[[SigningKey], bytes]] = {
    "PEM": pem,
    "PEM without its newline": lambda key: pem(key).strip(),
    "PEM with CRLF": lambda key: pem(key).replace(b"\n", b"\r\n"),
    "PEM without armour": lambda key: b"".join(pem(key).splitlines()[1:-1]),
    "DER": public_bytes(Encoding.DER, PUBLIC),
    "OpenSSH": public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
    "JWK": lambda key: to_json(key.jwk()),
    "thumbprint JSON": thumbprint_json,
    "kid": member("kid"),
}
ENCODINGS: dict[str, dict[str, Callable[[SigningKey], bytes]]] = {
    "ES256": {
        **ANY_KEY,
        "uncompressed point": public_bytes(Encoding.X962, PublicFormat.UncompressedPoint),
        "compressed point": public_bytes(Encoding.X962, PublicFormat.CompressedPoint),
        "x": decoded("x"),
        "y": decoded("y"),
        "x and y": decoded("x", "y"),
        "text of x": member("x"),
    },
    "RS256": {
        **ANY_KEY,
        "PKCS1 PEM": public_bytes(Encoding.PEM, PublicFormat.PKCS1),
        "PKCS1 DER": public_bytes(Encoding.DER, PublicFormat.PKCS1),
        "modulus": decoded("n"),
        "text of the modulus": member("n"),
    },
    "EdDSA": {
        **ANY_KEY,
        "raw key": public_bytes(Encoding.Raw, PublicFormat.Raw),
        "text of x": member("x"),
    },
}


def confused(
    algorithm: str, encode: Callable[[SigningKey], bytes], hmac: str
) -> Callable[[FakeSupabase], str]:
    """The public key, which everybody has, taken for a shared secret."""

    def token(fake: FakeSupabase) -> str:
        key = fake.key(algorithm)
        header = {"alg": hmac, "kid": key.kid, "typ": "JWT"}
        return compact(header, fake.claims(), hmac_signer(encode(key), hmac))

    return token


def confusions() -> Iterator[Attack]:
    for algorithm, encodings in ENCODINGS.items():
        for name, encode in encodings.items():
            for hmac in HMACS:
                title = f"{hmac} keyed with the {algorithm} key as {name}"
                yield Attack(title, confused(algorithm, encode, hmac))


def hmac_with(secret: Callable[[FakeSupabase], str | bytes]) -> Callable[[FakeSupabase], str]:
    def token(fake: FakeSupabase) -> str:
        value = secret(fake)
        octets = value if isinstance(value, bytes) else value.encode()
        return compact({"alg": "HS256", "typ": "JWT"}, fake.claims(), hmac_signer(octets))

    return token


def key_set(fake: FakeSupabase) -> bytes:
    return to_json({"keys": [key.jwk() for key in fake.keys]})


GUESSES: dict[str, Callable[[FakeSupabase], str | bytes]] = {
    "nothing": lambda _: b"",
    "a NUL": lambda _: b"\0",
    "secret": lambda _: "secret",
    "change-me": lambda _: "change-me",
    "Supabase's example": lambda _: "super-secret-jwt-token-with-at-least-32-characters-long",
    "the whole key set": key_set,
    "the project's URL": lambda fake: fake.url,
    "the issuer": lambda fake: fake.issuer,
    "the publishable key": lambda fake: fake.publishable_key,
    "the anon key": lambda fake: fake.legacy_api_key("anon"),
    "most of the secret": lambda fake: fake.legacy_secret[:-1],
    "the secret and a newline": lambda fake: fake.legacy_secret + "\n",
}


def signed_as(algorithm: str, header: str, by: str) -> Callable[[FakeSupabase], str]:
    """Signed with the right private key, by one algorithm, under the name of another."""

    def token(fake: FakeSupabase) -> str:
        key = fake.key(algorithm)
        signer = get_default_algorithms()[by]
        fields = {"alg": header, "kid": key.kid, "typ": "JWT"}
        return compact(fields, fake.claims(), lambda data: signer.sign(data, key.private))

    return token


MISNAMED = [
    *[("ES256", header, "ES256") for header in ("RS256", "EdDSA", "HS256", "PS256", "ES384")],
    *[("ES256", header, "ES256") for header in ("ES512", "ES256K", "es256", "ES256 ", "Ed25519")],
    *[("RS256", header, "RS256") for header in ("ES256", "EdDSA", "HS256", "PS256", "RS384")],
    *[("RS256", header, header) for header in ("RS384", "RS512", "PS256", "PS384", "PS512")],
    *[("RS256", "RS256", by) for by in ("RS384", "RS512", "PS256")],
    *[("EdDSA", header, "EdDSA") for header in ("ES256", "RS256", "HS256", "Ed25519", "Ed448")],
]


def replaced(change: Callable[[bytes], bytes]) -> Callable[[FakeSupabase], str]:
    """An ES256 token with its 64 bytes of signature changed."""

    def token(fake: FakeSupabase) -> str:
        key = fake.key("ES256")
        header = {"alg": "ES256", "kid": key.kid, "typ": "JWT"}
        return compact(header, fake.claims(), lambda data: change(key.sign(data)))

    return token


def der_signature(raw: bytes) -> bytes:
    return encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))


def numbers(r: int, s: int) -> Callable[[bytes], bytes]:
    return lambda _: r.to_bytes(32) + s.to_bytes(32)


SIGNATURES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "one byte": lambda _: b"\0",
    "r and s zero": numbers(0, 0),
    "r and s one": numbers(1, 1),
    "r zero": numbers(0, 1),
    "r and s the order": numbers(P256_ORDER, P256_ORDER),
    "all ones": lambda _: b"\xff" * 64,
    "in DER": der_signature,
    "r and s swapped": lambda raw: raw[32:] + raw[:32],
    "without its last byte": lambda raw: raw[:-1],
    "with a byte more": lambda raw: raw + b"\0",
    "with a leading zero": lambda raw: b"\0" + raw,
    "half of it": lambda raw: raw[:32],
    "twice": lambda raw: raw * 2,
    "r only": lambda raw: raw[:32] + bytes(32),
}


def of_another_token(fake: FakeSupabase) -> str:
    mine, other = fake.token(), fake.token()
    return f"{mine.rpartition('.')[0]}.{other.rpartition('.')[2]}"


def with_claims_of_another(fake: FakeSupabase) -> str:
    header, _, signature = fake.token().split(".")
    return f"{header}.{fake.token().split('.')[1]}.{signature}"


SIGNATURE = [
    *confusions(),
    *[Attack(f"HS256 keyed with {name}", hmac_with(of)) for name, of in GUESSES.items()],
    *[
        Attack(
            f"{algorithm} key, header {header}, signed by {by}", signed_as(algorithm, header, by)
        )
        for algorithm, header, by in MISNAMED
    ],
    *[Attack(f"ES256 signature {name}", replaced(change)) for name, change in SIGNATURES.items()],
    Attack("the signature of another token", of_another_token),
    Attack("the claims of another token", with_claims_of_another),
]
