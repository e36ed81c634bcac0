"""Tokens of the service's shape, for the requests of the measurements."""

import secrets
import time
from typing import Any

import jwt

from benchmarks.database import EMAIL, Database

SECRET = secrets.token_urlsafe(48)
ISSUER = "megapolis"
AUDIENCE = "megapolis-api"
LIFETIME = 30 * 86_400


def claims_of(database: Database, email: str = EMAIL) -> dict[str, Any]:
    """Return the claims of a token for the user, whose session the database was loaded with."""
    with database.connect() as connection:
        row = connection.execute(
            """SELECT u.id, s.key FROM accounts_user u JOIN accounts_apisession s
            ON s.user_id = u.id WHERE u.email = %s""",
            (email,),
        ).fetchone()
    assert row is not None
    now = int(time.time())
    return {
        "sub": str(row[0]),
        "email": email,
        "exp": now + LIFETIME,
        "iat": now,
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sid": str(row[1]),
    }


def all_tokens(database: Database) -> list[str]:
    """Return a token of each user, that of the first one first."""
    with database.connect() as connection:
        emails = connection.execute("SELECT email FROM accounts_user ORDER BY id").fetchall()
    return [sign(claims_of(database, email)) for (email,) in emails]


def sign(claims: dict[str, Any], *, secret: str = SECRET) -> str:
    """Return the signed token."""
    return jwt.encode(claims, secret, algorithm="HS256")
