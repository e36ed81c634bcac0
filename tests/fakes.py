"""A Supabase project on 127.0.0.1: the part of its Auth server that this service talks to.

`tests/verification/test_supabase.py` holds it to what a real project does.
"""

import gzip
import secrets
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self
from uuid import uuid4

import jwt

from tests.signing import SigningKey, compact, hmac_signer, make_key, to_json, without_absent

KEYS_PATH = "/auth/v1/.well-known/jwks.json"
USER_PATH = "/auth/v1/user"
ELSEWHERE = "/elsewhere"
Mood = Literal[
    "well", "stall", "redirect", "garbage", "error", "empty", "oversized", "nothing", "compressed"
]
JSON = {"Content-Type": "application/json"}
Answer = tuple[int, dict[str, str], bytes]


class FakeSupabase:
    """Signs users in and answers for them, until it is told to be in another mood.

    Use it as a context manager. `clock` is in seconds since 1970. `requests` has the path of each
    request, in order. `keys` are the published ones; the first signs. A `crowd` lets requests
    pass only when so many have come together.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.mood: Mood = "well"
        self.requests: list[str] = []
        self.legacy_secret = secrets.token_urlsafe(40)
        self.publishable_key = f"sb_publishable_{secrets.token_urlsafe(24)}"
        self.secret_key = f"sb_secret_{secrets.token_urlsafe(24)}"
        self.keys = [make_key("ES256"), make_key("RS256"), make_key("EdDSA")]
        self.signed_out: set[str] = set()
        self.deleted: set[str] = set()
        self.banned: set[str] = set()
        self.crowd: threading.Barrier | None = None
        self._released = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.issuer = f"{self.url}/auth/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def key(self, algorithm: str) -> SigningKey:
        """Return the first published key for the algorithm."""
        return next(key for key in self.keys if key.algorithm == algorithm)

    def rotate(self) -> SigningKey:
        """Sign with a new key from now on. The old ones stay published until they are revoked."""
        self.keys.insert(0, make_key("ES256"))
        return self.keys[0]

    def revoke(self, key: SigningKey) -> None:
        self.keys.remove(key)

    def release(self) -> None:
        """Hang up on whoever is stalled."""
        self._released.set()
        self._released.clear()

    def count(self, path: str) -> int:
        return self.requests.count(path)

    def claims(self, **changes: object) -> dict[str, object]:
        """Return the claims of a user's access token. ABSENT takes one out."""
        now = int(self.clock())
        user_id, email = str(uuid4()), "ada@example.com"
        claims: dict[str, object] = {
            "iss": self.issuer,
            "sub": user_id,
            "aud": "authenticated",
            "exp": now + 3600,
            "iat": now,
            "email": email,
            "phone": "",
            "app_metadata": {"provider": "email", "providers": ["email"]},
            "user_metadata": {
                "email": email,
                "email_verified": True,
                "phone_verified": False,
                "sub": user_id,
            },
            "role": "authenticated",
            "aal": "aal1",
            "amr": [{"method": "password", "timestamp": now}],
            "session_id": str(uuid4()),
            "is_anonymous": False,
        }
        return without_absent(claims | changes)

    def token(
        self,
        key: SigningKey | None = None,
        header: dict[str, object] | None = None,
        **claims: object,
    ) -> str:
        """Return a signed access token, with these header fields and claims changed."""
        key = key or self.keys[0]
        fields: dict[str, object] = {"alg": key.algorithm, "kid": key.kid, "typ": "JWT"}
        return compact(without_absent(fields | (header or {})), self.claims(**claims), key.sign)

    def legacy_token(self, header: dict[str, object] | None = None, **claims: object) -> str:
        """Return an access token of a project that still signs with the shared secret."""
        fields: dict[str, object] = {"alg": "HS256", "typ": "JWT"}
        signer = hmac_signer(self.legacy_secret.encode())
        return compact(fields | (header or {}), self.claims(**claims), signer)

    def legacy_api_key(self, role: Literal["anon", "service_role"]) -> str:
        """Return one of the older API keys: a JWT that is no user's."""
        now = int(self.clock())
        claims = {
            "iss": "supabase",
            "ref": "abcdefghijklmnopqrst",
            "role": role,
            "iat": now - 86400,
            "exp": now + 315_360_000,
        }
        header = {"alg": "HS256", "typ": "JWT"}
        return compact(header, claims, hmac_signer(self.legacy_secret.encode()))

    def answer(self, path: str, headers: dict[str, str]) -> Answer | None:
        """Return status, headers and body for a GET, or None to hang up."""
        self.requests.append(path)
        if self.crowd is not None:
            self.crowd.wait(timeout=5)
        if self.mood == "stall":
            self._released.wait()
        if self.mood != "well" and path != ELSEWHERE:
            return BAD_ANSWERS[self.mood]
        if path in {KEYS_PATH, ELSEWHERE}:
            status, facts, body = _ok({"keys": [key.jwk() for key in self.keys]})
            return status, facts | {"Cache-Control": "public, max-age=600"}, body
        if path == USER_PATH:
            return self._user(headers)
        if path.startswith("/size/"):
            return 200, {}, bytes(int(path.removeprefix("/size/")))
        return _error(404, "not_found")

    def _user(self, headers: dict[str, str]) -> Answer:
        legacy_keys = {self.legacy_api_key("anon"), self.legacy_api_key("service_role")}
        if headers.get("apikey") not in {self.publishable_key, self.secret_key} | legacy_keys:
            return 401, JSON, b'{"message":"Invalid API key"}'
        try:
            claims = self._read(headers.get("authorization", "").removeprefix("Bearer "))
        except (jwt.PyJWTError, StopIteration, UnicodeError):
            return _error(403, "bad_jwt")
        refusals = {
            "bad_jwt": claims["exp"] <= self.clock(),
            "user_not_found": claims["sub"] in self.deleted,
            "session_not_found": claims["session_id"] in self.signed_out,
            "user_banned": claims["sub"] in self.banned,
        }
        code = next((code for code, applies in refusals.items() if applies), None)
        return _error(403, code) if code else _ok(_user(claims))

    def _read(self, token: str) -> dict[str, Any]:
        header = jwt.get_unverified_header(token)
        algorithm = header["alg"]
        key: Any = self.legacy_secret
        if algorithm != "HS256":
            published = next(key for key in self.keys if key.kid == header.get("kid"))
            key = published.private.public_key()
        options: Any = {"verify_aud": False, "verify_exp": False, "verify_iat": False}
        claims: dict[str, Any] = jwt.decode(token, key, [algorithm], options)
        return claims


def _user(claims: dict[str, Any]) -> dict[str, object]:
    moment = "2026-01-02T03:04:05.678901Z"
    return {
        "id": claims["sub"],
        "aud": "authenticated",
        "role": "authenticated",
        "email": claims["email"],
        "email_confirmed_at": moment,
        "phone": "",
        "confirmed_at": moment,
        "last_sign_in_at": moment,
        "app_metadata": claims["app_metadata"],
        "user_metadata": claims["user_metadata"],
        "identities": [],
        "created_at": moment,
        "updated_at": moment,
        "is_anonymous": claims["is_anonymous"],
    }


def _ok(value: object) -> Answer:
    return 200, JSON, to_json(value)


def _error(status: int, code: str) -> Answer:
    """An error in the form that the client asks for with X-Supabase-Api-Version."""
    body = to_json({"code": code, "message": "in words that may change"})
    return status, JSON | {"X-Supabase-Api-Version": "2024-01-01"}, body


BAD_ANSWERS: dict[Mood, Answer | None] = {
    "stall": None,
    "nothing": None,
    "redirect": (302, {"Location": ELSEWHERE}, b""),
    "garbage": (200, JSON, b"\x00\xff<html>"),
    "error": _error(500, "unexpected_failure"),
    "empty": _ok({"keys": []}),
    "oversized": _ok({"keys": [], "padding": "x" * 100_000}),
    "compressed": (200, JSON | {"Content-Encoding": "gzip"}, gzip.compress(b'{"keys": []}')),
}


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Take it for granted that a client may hang up."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _handler(fake: FakeSupabase) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = fake.answer(self.path, headers)
            if answer is None:
                self.close_connection = True
                return
            status, facts, body = answer
            self.send_response(status)
            for name, value in {**facts, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    return Handler
