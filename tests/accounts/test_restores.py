"""A token after the database lost rows and gives their numbers to others.

So it is after a restore from a dump, and on a standby that was promoted without the last writes.
"""

from collections.abc import Sequence

import httpx
import pytest

from tests import factories
from tests.accounts.conftest import rows
from tests.conftest import MakeClient

NUMBERS = "SELECT u.id, s.id FROM accounts_user u JOIN accounts_apisession s ON s.user_id = u.id"
RESTART = [
    f"ALTER TABLE {table} ALTER COLUMN id RESTART WITH 1"
    for table in ("widgets_widget", "accounts_apisession", "accounts_user")
]
DELETE = [
    f"DELETE FROM {table}" for table in ("widgets_widget", "accounts_apisession", "accounts_user")
]
TRUNCATE = "TRUNCATE widgets_widget, accounts_apisession, accounts_user"
LOSSES: dict[str, list[str]] = {
    "rows restored from an older dump": [*DELETE, *RESTART],
    "a table restored without its sequence": [*DELETE[:2], *RESTART, DELETE[2]],
    "TRUNCATE RESTART IDENTITY": [f"{TRUNCATE} RESTART IDENTITY CASCADE"],
    "TRUNCATE CASCADE, then the sequences": [f"{TRUNCATE} CASCADE", *RESTART],
}
REQUESTS = [
    ("GET", "/auth/me", None),
    ("GET", "/auth/sessions/", None),
    ("GET", "/widgets/", None),
    ("POST", "/widgets/", {"name": "Sprocket"}),
    ("PATCH", "/widgets/1", {"name": "Cog"}),
    ("DELETE", "/widgets/1", None),
    ("DELETE", "/auth/sessions/1", None),
    ("POST", "/auth/logout", None),
    ("POST", "/auth/logout-everywhere", None),
]


async def run(statements: Sequence[str]) -> None:
    for statement in statements:
        await rows(statement)


async def statuses(client: httpx.AsyncClient) -> set[int]:
    """Return the statuses of every kind of request."""
    responses = [await client.request(method, url, json=body) for method, url, body in REQUESTS]
    return {response.status_code for response in responses}


class TestLostRows:
    @pytest.fixture(autouse=True)
    async def from_the_first_number_on(self, db: None) -> None:
        await run(RESTART)

    @pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
    async def test_give_their_numbers_to_another_user_and_not_their_tokens(
        self, make_client: MakeClient, loss: list[str]
    ) -> None:
        old = await make_client(await factories.make_user())
        assert (await old.get("/auth/me")).json()["id"] == 1
        await run(loss)
        new = await make_client(await factories.make_user())
        await new.post("/widgets/", json={"name": "Bolt"})

        assert await rows(NUMBERS) == [(1, 1)]
        assert await statuses(old) == {401}
        assert (await new.get("/widgets/1")).json()["name"] == "Bolt"
        assert await rows("SELECT revoked_at FROM accounts_apisession") == [(None,)]

    async def test_of_a_session_give_its_number_to_another_session_and_not_its_token(
        self, make_client: MakeClient, user: factories.UserRow
    ) -> None:
        """Of the same user: whoever had the old session may have lost it to a sign-out."""
        old = await make_client(user)
        await run([DELETE[1], RESTART[1]])
        new = await make_client(user)

        assert await rows(NUMBERS) == [(user.id, 1)]
        assert await statuses(old) == {401}
        assert (await new.get("/auth/me")).status_code == 200

    async def test_of_a_user_leave_nobody_for_a_session_that_another_user_has_now(
        self, make_client: MakeClient, user: factories.UserRow
    ) -> None:
        """The key alone is not enough: the row must be of the user whom the token names."""
        client = await make_client(user)
        other = await factories.make_user()
        await rows("UPDATE accounts_apisession SET user_id = $1", other.id)

        assert await statuses(client) == {401}

    async def test_that_come_back_with_their_keys_have_their_tokens_again(
        self, make_client: MakeClient, user: factories.UserRow
    ) -> None:
        client = await make_client(user)
        (kept,) = await rows("SELECT id, key, user_id, expires_at FROM accounts_apisession")
        await run([DELETE[1]])
        assert await statuses(client) == {401}
        await rows(
            "INSERT INTO accounts_apisession (id, key, user_id, expires_at) "
            "VALUES ($1::bigint, $2::uuid, $3::bigint, $4::timestamptz)",
            *kept,
        )

        assert (await client.get("/auth/me")).status_code == 200


class TestKey:
    async def test_is_another_one_in_each_row(self, user: factories.UserRow) -> None:
        made = [(await factories.make_session(user)).key for _ in range(50)]

        assert len(set(made)) == 50
        assert {key.version for key in made} == {4}
