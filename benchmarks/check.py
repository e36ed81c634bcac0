"""Makes sure, before anything is timed, that a server does the work and does it right."""

import time
from datetime import datetime
from typing import Any
from uuid import uuid4

import httpx
from psycopg.rows import dict_row

from benchmarks.database import Database
from benchmarks.tokens import claims_of, sign

COLUMNS = "id, name, owner_id, created_at, updated_at"


class WrongAnswerError(Exception):
    """A server answered something else than its peers must answer."""


def check(url: str, database: Database) -> None:
    """Raise WrongAnswerError unless the server reads, lists, creates and refuses as it must.

    Bodies are compared as JSON, and times as instants to the millisecond, which is what Ninja's own
    renderer answers.
    """
    token = sign(claims_of(database))
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}) as client:
        _check_one(client, database)
        _check_lists(client, database)
        _check_create(client, database)
        _check_refusals(client, database)
    database.put_back()


def _check_one(client: httpx.Client, database: Database) -> None:
    for identifier in (1, database.widgets // 2, database.widgets):
        body = _get(client, f"/widgets/{identifier}")
        _expect(f"widget {identifier}", _widget(body), _rows(database, identifier - 1, 1)[0])
    _expect("an unknown id", client.get("/widgets/999999999").status_code, 404)


def _check_lists(client: httpx.Client, database: Database) -> None:
    for limit in (20, 100):
        first = _get(client, f"/widgets/?limit={limit}")
        _expect(f"{limit} items", [*map(_widget, first["items"])], _rows(database, 0, limit))
        second = client.get("/widgets/", params={"limit": limit, "cursor": first["next_cursor"]})
        items = [*map(_widget, second.json()["items"])]
        _expect("the second page", items, _rows(database, limit, limit))


def _check_create(client: httpx.Client, database: Database) -> None:
    response = client.post("/widgets/", json={"name": "created by the check"})
    _expect("a create", response.status_code, 201)
    with database.connect() as connection:
        cursor = connection.cursor(row_factory=dict_row)
        query = f"SELECT {COLUMNS} FROM widgets_widget WHERE name = 'created by the check'"
        created = cursor.execute(query).fetchone()
    assert created is not None
    _expect("the created widget", _widget(response.json()), _to_the_millisecond(created))
    again = client.post("/widgets/", json={"name": "created by the check"})
    _expect("a name that exists", again.status_code, 400)


def _check_refusals(client: httpx.Client, database: Database) -> None:
    claims = claims_of(database)
    bad_tokens = {
        "no token": "",
        "a foreign signature": sign(claims, secret="x" * 64),
        "an expired token": sign({**claims, "exp": int(time.time()) - 1}),
        "a foreign issuer": sign({**claims, "iss": "foreign"}),
        "a foreign audience": sign({**claims, "aud": "foreign"}),
        "an unknown session": sign({**claims, "sid": str(uuid4())}),
    }
    for case, token in bad_tokens.items():
        headers = {"Authorization": f"Bearer {token}"} if token else {"Authorization": ""}
        _expect(case, client.get("/widgets/1", headers=headers).status_code, 401)
    for table, change, undo in (
        ("accounts_apisession", "revoked_at = now()", "revoked_at = NULL"),
        ("accounts_user", "is_active = false", "is_active = true"),
    ):
        with database.connect() as connection:
            connection.execute(f"UPDATE {table} SET {change}")
            status = client.get("/widgets/1").status_code
            connection.execute(f"UPDATE {table} SET {undo}")
        _expect(f"a session after {change}", status, 401)


def _get(client: httpx.Client, path: str) -> Any:
    response = client.get(path)
    _expect(path, response.status_code, 200)
    return response.json()


def _rows(database: Database, offset: int, limit: int) -> list[dict[str, Any]]:
    with database.connect() as connection:
        cursor = connection.cursor(row_factory=dict_row)
        query = f"SELECT {COLUMNS} FROM widgets_widget ORDER BY id OFFSET %s LIMIT %s"
        return cursor.execute(query, (offset, limit)).fetchall()


def _widget(body: dict[str, Any]) -> dict[str, Any]:
    times = {key: datetime.fromisoformat(body[key]) for key in ("created_at", "updated_at")}
    return _to_the_millisecond({**body, **times})


def _to_the_millisecond(widget: dict[str, Any]) -> dict[str, Any]:
    times = {
        key: widget[key].replace(microsecond=widget[key].microsecond // 1000 * 1000)
        for key in ("created_at", "updated_at")
    }
    return {**widget, **times}


def _expect(case: str, answered: object, expected: object) -> None:
    if answered != expected:
        raise WrongAnswerError(f"{case}: expected {expected!r}, got {answered!r}")
