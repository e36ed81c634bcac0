"""Each list costs what its page costs, whichever plan PostgreSQL settles on."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.widgets import factories
from widgets import statements
from widgets.models import LAST_NAME

ROWS = 24_000
LIMIT = 51
FILL = b"""
    INSERT INTO widgets_widget (name, owner_id)
    SELECT (ARRAY['Cog ', 'cOG ', 'Zip '])[1 + n % 3] || md5(n::text),
           CASE WHEN n <= $3::int / 2 THEN $1::bigint ELSE $2::bigint END
    FROM generate_series(1, $3::int) AS n
"""
VALUES = {
    "after_name": "cog 8",
    "prefix": "COG",
    "prefix_end": "COG" + LAST_NAME,
    "limit": LIMIT,
}
LISTS = [
    {"order": order, "owned": owned, "searched": searched, "after": after}
    for order in ("id", "-id", "name", "-name")
    for owned in (False, True)
    for searched in (False, True)
    for after in (False, True)
    if not (searched and order.endswith("id"))
]

type Connection = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture(scope="module")
async def values(pool: None) -> AsyncIterator[dict[str, Any]]:
    """Values for the lists of many widgets, the newer half of which one owner has."""
    from megapolis import database

    owners = [await factories.make_user(), await factories.make_user()]
    async with database.transaction():
        await database.fetch(b"SET LOCAL statement_timeout = 0", [], reads=False)
        await database.fetch(FILL, [owners[0].id, owners[1].id, ROWS], reads=False)
    await database.fetch(b"ANALYZE widgets_widget", [], reads=False)
    [(last_id,)] = await database.fetch(b"SELECT max(id) FROM widgets_widget", [], reads=True)
    yield {**VALUES, "owner_id": owners[1].id, "after_id": last_id - ROWS // 4}
    await database.fetch(b"DELETE FROM widgets_widget", [], reads=False)
    await database.fetch(b"DELETE FROM accounts_user", [], reads=False)
    await database.fetch(b"ANALYZE widgets_widget", [], reads=False)


@pytest.fixture(scope="module")
def connection(values: dict[str, Any]) -> Iterator[Connection]:
    """A connection to the same database."""
    from megapolis.database.connection import connection_parameters

    parameters = connection_parameters()
    with psycopg.connect(**parameters) as connection:
        yield connection


def plan_of(connection: Connection, compiled: Any, values: dict[str, Any], *, mode: str) -> Any:
    """Run the statement as PostgreSQL runs a prepared one, and return the plan it took."""
    arguments = [sql.Literal(values[argument.name]) for argument in compiled.arguments]
    connection.execute(sql.SQL("SET plan_cache_mode = {}").format(sql.Literal(mode)))
    connection.execute(b"PREPARE list AS " + compiled.sql)
    explain = sql.SQL("EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE list ({})")
    row = connection.execute(explain.format(sql.SQL(", ").join(arguments))).fetchone()
    connection.execute(b"DEALLOCATE list")
    assert row
    return row[0][0]["Plan"]


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
@pytest.mark.parametrize("variant", LISTS, ids=str)
def test_a_list_reads_an_index_in_order_and_no_further_than_its_page(
    connection: Connection, values: dict[str, Any], variant: dict[str, Any], mode: str
) -> None:
    compiled = statements.list_widgets(**variant).compiled

    plan = plan_of(connection, compiled, values, mode=mode)

    limit, scan = nodes(plan)
    assert limit["Node Type"] == "Limit"
    assert scan["Node Type"] in {"Index Scan", "Index Only Scan"}
    assert scan["Actual Rows"] == LIMIT
    assert scan.get("Rows Removed by Filter", 0) <= 1
    assert scan.get("Rows Removed by Index Recheck", 0) == 0
