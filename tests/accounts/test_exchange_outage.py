"""Exchanging a token while PostgreSQL cannot do what it is asked."""

import pytest

from megapolis import database
from tests.accounts.conftest import Exchange
from tests.fakes import FakeSupabase

RAISE = """
    DO $do$ BEGIN
        CREATE OR REPLACE FUNCTION raise_state() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            RAISE EXCEPTION 'a reason' USING ERRCODE = '{code}';
        END $$;
        CREATE TRIGGER raise_state BEFORE INSERT ON {table}
        FOR EACH STATEMENT EXECUTE FUNCTION raise_state();
    END $do$
"""


@pytest.mark.parametrize("table", ["accounts_user", "accounts_apisession"])
@pytest.mark.parametrize("code", ["25006", "53100", "55P03", "58030"])
async def test_is_a_503_and_works_again_at_once(
    exchange: Exchange, project: FakeSupabase, code: str, table: str
) -> None:
    token = project.token()
    await database.fetch(RAISE.format(code=code, table=table).encode(), [], reads=False)
    try:
        rejected = await exchange(token)
    finally:
        await database.fetch(b"DROP FUNCTION raise_state CASCADE", [], reads=False)

    assert rejected.status_code == 503
    assert rejected.headers["content-type"] == "application/problem+json"
    assert int(rejected.headers["retry-after"]) >= 1
    assert "a reason" not in rejected.text
    assert (await exchange(token)).status_code == 200
