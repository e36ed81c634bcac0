"""The stand-in issuer: issues tokens for development without a Supabase project."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from uuid import NAMESPACE_URL, uuid4, uuid5

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from django.core.exceptions import ImproperlyConfigured
from jwt.algorithms import ECAlgorithm

from accounts.models import parse_email
from megapolis import environment

ISSUER = "https://stand-in.invalid/auth/v1"
"""A reserved domain (RFC 2606, section 2), so no Supabase project can have it."""

LIFETIME = 60 * 60


class StandInIssuer:
    """Issues tokens that differ from Supabase's only in `iss` and in the key.

    The ES256 key is created on first use and readable by its owner only. Commands and the service
    share the key of a folder.
    """

    iss = ISSUER

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._key = _read_or_make_key(folder / "stand-in.pem")
        public = self._key.public_key()
        der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self._kid = str(uuid5(NAMESPACE_URL, f"{ISSUER}#{der.hex()}"))
        jwk = ECAlgorithm.to_jwk(public, as_dict=True)
        self.keys = {self._kid: jwt.PyJWK(jwk, "ES256")}

    def token(self, email: str, *, aal2: bool = False) -> str:
        """Return an access token of the user with this email, in a new session.

        With `aal2` the session has a second factor.

        An email always gives the same user. Raises ValueError if it is not an email address.
        """
        address = parse_email(email)
        user_id = str(uuid5(NAMESPACE_URL, f"{ISSUER}/{address}"))
        now = int(self._clock())
        methods = ["totp", "password"] if aal2 else ["password"]
        claims = {
            "iss": ISSUER,
            "sub": user_id,
            "aud": "authenticated",
            "exp": now + LIFETIME,
            "iat": now,
            "email": address,
            "phone": "",
            "app_metadata": {"provider": "email", "providers": ["email"]},
            "user_metadata": {
                "email": address,
                "email_verified": True,
                "phone_verified": False,
                "sub": user_id,
            },
            "role": "authenticated",
            "aal": "aal2" if aal2 else "aal1",
            "amr": [{"method": method, "timestamp": now} for method in methods],
            "session_id": str(uuid4()),
            "is_anonymous": False,
        }
        return jwt.encode(claims, self._key, "ES256", headers={"kid": self._kid})


def stand_in_issuer() -> StandInIssuer:
    """Return this checkout's issuer. Raises ImproperlyConfigured outside of development."""
    if environment.ENVIRONMENT != "development":
        raise ImproperlyConfigured("The stand-in issuer needs ENVIRONMENT=development")
    return StandInIssuer(environment.BASE_DIR / ".keys")


def _read_or_make_key(path: Path) -> EllipticCurvePrivateKey:
    """Return the key in the file. Two processes that create it concurrently get the same one."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        pem = generate_private_key(SECP256R1()).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
        with NamedTemporaryFile(dir=path.parent) as file, suppress(FileExistsError):
            file.write(pem)
            file.flush()
            os.link(file.name, path)
    key = load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, EllipticCurvePrivateKey):
        raise TypeError(f"{path} holds another kind of key; remove it, and a new one is made")
    return key
