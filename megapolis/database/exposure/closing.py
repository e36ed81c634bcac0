"""The statements that close tables, sequences and functions to the Data API."""

from collections.abc import Sequence
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper

from megapolis.database.exposure import API_ROLES, OURS, table_names

EXISTING: Final = f"""
    SELECT ARRAY(SELECT oid FROM pg_class WHERE relowner = me.oid),
        ARRAY(SELECT oid FROM pg_proc WHERE proowner = me.oid)
    FROM pg_roles AS me
    WHERE rolname = current_user
    AND EXISTS (SELECT FROM pg_roles WHERE rolname IN ({API_ROLES}))"""  # noqa: S608 - of constants

CREATED: Final = """
    ours AS (
        SELECT class.oid FROM pg_class AS class JOIN pg_roles ON pg_roles.oid = relowner
        WHERE rolname = current_user AND class.oid <> ALL (%s::oid[])
        AND relpersistence <> 't' AND NOT EXISTS (
            SELECT FROM pg_depend
            WHERE classid = 'pg_class'::regclass AND objid = class.oid AND deptype = 'e'
        )
    ), routines AS (
        SELECT routine.oid FROM pg_proc AS routine JOIN pg_roles ON pg_roles.oid = proowner
        WHERE rolname = current_user AND routine.oid <> ALL (%s::oid[]) AND NOT EXISTS (
            SELECT FROM pg_depend
            WHERE classid = 'pg_proc'::regclass AND objid = routine.oid AND deptype = 'e'
        )
    )"""
"""What the current role has created since, without the members of extensions."""

CLOSE_RELATIONS: Final = f"""
    , api AS (
        SELECT array_agg(oid) || 0::oid AS oids, 'PUBLIC, ' || string_agg(rolname, ', ') AS names
        FROM pg_roles WHERE rolname IN ({API_ROLES}) HAVING count(*) > 0
    ), acls AS (
        SELECT oid, relacl AS acl FROM pg_class
        UNION ALL SELECT attrelid, attacl FROM pg_attribute
    )
    SELECT 'ALTER TABLE ' || oid::regclass || ' ENABLE ROW LEVEL SECURITY'
    FROM api, ours JOIN pg_class USING (oid)
    WHERE relkind IN ('r', 'p') AND NOT relrowsecurity AND pg_has_role(relowner, 'USAGE')
    UNION ALL
    SELECT 'REVOKE ALL ON ' || CASE relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END
        || oid::regclass || ' FROM ' || api.names || ' CASCADE'
    FROM api, ours JOIN pg_class USING (oid)
    WHERE relkind IN ('r', 'p', 'f', 'v', 'm', 'S') AND pg_has_role(relowner, 'USAGE')
    AND EXISTS (
        SELECT FROM acls, aclexplode(acl) WHERE acls.oid = ours.oid AND grantee = ANY (api.oids)
    )"""  # noqa: S608 - of constants
"""The statements that are missing. None is repeated: two processes that migrate at the same time
would change the same row of the catalog, and one of them would fail."""

CLOSE_ROUTINES: Final = """
    UNION ALL
    SELECT 'REVOKE ALL ON ROUTINE ' || oid::regprocedure || ' FROM ' || api.names || ' CASCADE'
    FROM api, routines"""

type Existing = tuple[list[int], list[int]] | None
"""The tables and functions of the current role; None where no role of the Data API exists."""


def existing(connection: BaseDatabaseWrapper) -> Existing:
    """Return what is there before a migration runs."""
    with connection.cursor() as cursor:
        cursor.execute(EXISTING)
        found: Existing = cursor.fetchone()
        return found


def close_new(connection: BaseDatabaseWrapper, before: Existing) -> None:
    """Close what was created since `before`, models or not."""
    if before is not None:
        _run(connection, f"WITH {CREATED}{CLOSE_RELATIONS}{CLOSE_ROUTINES}", before)


def close_tables(connection: BaseDatabaseWrapper) -> list[str]:
    """Close the tables of our models, and return the statements that this needed."""
    ours = OURS.format(names="%s")
    return _run(connection, f"WITH RECURSIVE {ours}{CLOSE_RELATIONS}", [table_names(connection)])


def _run(connection: BaseDatabaseWrapper, sql: str, arguments: Sequence[Any]) -> list[str]:
    """Run the statements that a query returns. Without a transaction each commits by itself."""
    with connection.cursor() as cursor:
        cursor.execute(sql, arguments)
        statements = [statement for (statement,) in cursor.fetchall()]
        for statement in statements:
            cursor.execute(statement)
    return statements
