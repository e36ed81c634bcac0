"""The floor: what one can write by hand on ASGI, psycopg and orjson, without a framework.

It checks what the peers check and no more: no validation of bodies beyond what the queries need,
no error handling, no documentation. Nobody should write a service like this one.
"""

import base64
import hmac
import time
from typing import Any
from urllib.parse import parse_qs

import orjson
from psycopg import AsyncConnection
from psycopg.errors import UniqueViolation
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from benchmarks.peers import configuration

SECRET = configuration.SECRET.encode()
SESSION = """
    SELECT u.id, u.email, u.is_staff FROM accounts_apisession s JOIN accounts_user u
    ON u.id = s.user_id WHERE s.key = %s::uuid AND s.user_id = %s::bigint
    AND s.revoked_at IS NULL AND s.expires_at > now() AND u.is_active"""
COLUMNS = "id, name, owner_id, created_at, updated_at"
FIND = f"SELECT {COLUMNS} FROM widgets_widget WHERE id = %s::bigint"
PAGE = f"SELECT {COLUMNS} FROM widgets_widget WHERE id > %s::bigint ORDER BY id LIMIT %s::bigint"
INSERT = f"""INSERT INTO widgets_widget (name, owner_id) VALUES (%s::text, %s::bigint)
    RETURNING {COLUMNS}"""

Answer = tuple[int, Any]

pool = AsyncConnectionPool(
    f"host={configuration.DATABASE_SOCKET} dbname={configuration.DATABASE_NAME} "
    f"user={configuration.DATABASE_USER}",
    min_size=configuration.POOL_SIZE,
    max_size=configuration.POOL_SIZE,
    kwargs={"autocommit": True, "prepare_threshold": 0},
    open=False,
)


def decode(part: bytes) -> bytes:
    """Return the bytes of a base64url string without padding."""
    return base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))


def read_token(headers: list[tuple[bytes, bytes]]) -> dict[str, Any] | None:
    """Return the claims of a valid bearer token, or None."""
    authorization = next((value for name, value in headers if name == b"authorization"), b"")
    scheme, _, token = authorization.partition(b" ")
    signed, _, signature = token.rpartition(b".")
    expected = hmac.digest(SECRET, signed, "sha256")
    if scheme != b"Bearer" or not hmac.compare_digest(decode(signature), expected):
        return None
    header, _, payload = signed.partition(b".")
    claims: dict[str, Any] = orjson.loads(decode(payload))
    valid = (
        orjson.loads(decode(header)) == {"alg": "HS256", "typ": "JWT"}
        and all(name in claims for name in configuration.REQUIRED_CLAIMS)
        and claims["exp"] > time.time()
        and claims["iss"] == configuration.ISSUER
        and claims["aud"] == configuration.AUDIENCE
    )
    return claims if valid else None


def widget(row: TupleRow) -> dict[str, Any]:
    """Return the JSON object of a row."""
    identifier, name, owner, created, updated = row
    return {
        "id": identifier,
        "name": name,
        "owner_id": owner,
        "created_at": created,
        "updated_at": updated,
    }


async def find(connection: AsyncConnection, identifier: str) -> Answer:
    """Answer `GET /widgets/{id}`."""
    row = await (await connection.execute(FIND, (int(identifier),))).fetchone()
    return (200, widget(row)) if row else (404, {"detail": "Not found"})


async def page(connection: AsyncConnection, query: bytes) -> Answer:
    """Answer `GET /widgets/`."""
    parameters = parse_qs(query)
    limit = min(max(int(parameters.get(b"limit", [b"50"])[0]), 1), 100)
    after = int(parameters.get(b"cursor", [b"0"])[0])
    rows = await (await connection.execute(PAGE, (after, limit + 1))).fetchall()
    cursor = str(rows[limit - 1][0]) if len(rows) > limit else None
    return 200, {"items": [widget(row) for row in rows[:limit]], "next_cursor": cursor}


async def create(connection: AsyncConnection, receive: Any, owner: int) -> Answer:
    """Answer `POST /widgets/`."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    name = orjson.loads(body)["name"]
    try:
        row = await (await connection.execute(INSERT, (name, owner))).fetchone()
    except UniqueViolation:
        return 400, {"detail": "Name already exists"}
    assert row is not None
    return 201, widget(row)


async def answer(scope: Any, receive: Any) -> Answer:
    """Authenticate the request and dispatch it."""
    claims = read_token(scope["headers"])
    if claims is None:
        return 401, {"detail": "Unauthorized"}
    async with pool.connection() as connection:
        session = await connection.execute(SESSION, (claims["sid"], int(claims["sub"])))
        user = await session.fetchone()
        if user is None:
            return 401, {"detail": "Unauthorized"}
        path: str = scope["path"]
        if path != "/widgets/":
            return await find(connection, path.removeprefix("/widgets/"))
        if scope["method"] == "POST":
            return await create(connection, receive, user[0])
        return await page(connection, scope["query_string"])


async def lifespan(receive: Any, send: Any) -> None:
    """Open the pool at the start and close it at the end."""
    await receive()
    await pool.open(wait=True)
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await pool.close()
    await send({"type": "lifespan.shutdown.complete"})


async def application(scope: Any, receive: Any, send: Any) -> None:
    """The ASGI application."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    status, content = await answer(scope, receive)
    body = orjson.dumps(content, option=orjson.OPT_UTC_Z)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
