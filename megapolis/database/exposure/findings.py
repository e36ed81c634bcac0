"""What is open in a database, and what to do about it."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from django.core import checks
from django.core.checks import CheckMessage

from megapolis.database.exposure import API_ROLES, OURS

FINDINGS: Final = f"""
    WITH RECURSIVE {OURS}, readers AS (
        SELECT oid FROM ours
        UNION
        SELECT ev_class FROM readers JOIN pg_depend ON refobjid = readers.oid
        JOIN pg_rewrite ON pg_rewrite.oid = objid AND ev_type = '1'
        WHERE refclassid = 'pg_class'::regclass AND classid = 'pg_rewrite'::regclass
    ), findings AS (
        SELECT class.oid::regclass::text AS name, relkind IN ('v', 'm') AS is_view,
            pg_get_userbyid(relowner)::text AS owner, pg_has_role(relowner, 'USAGE') AS is_owned,
            current_user::text AS role,
            (
                SELECT string_agg(rolname, ' and ' ORDER BY rolname) FROM pg_roles AS role
                WHERE rolname IN ({API_ROLES})
                AND has_schema_privilege(role.oid, relnamespace, 'USAGE')
                AND CASE relkind WHEN 'S'
                    THEN has_sequence_privilege(role.oid, class.oid, 'USAGE, SELECT, UPDATE')
                    ELSE has_any_column_privilege(
                        role.oid, class.oid, 'SELECT, INSERT, UPDATE, REFERENCES'
                    ) OR has_table_privilege(role.oid, class.oid, 'DELETE, TRUNCATE, TRIGGER')
                END
            ) AS roles,
            relkind IN ('r', 'p') AND NOT relrowsecurity
                AND EXISTS (SELECT FROM pg_roles WHERE rolname IN ({API_ROLES})) AS is_unprotected,
            row_security_active(class.oid) AS is_hidden
        FROM readers JOIN pg_class AS class USING (oid)
        WHERE relkind IN ('r', 'p', 'f', 'S', 'v', 'm') AND NOT EXISTS (
            SELECT FROM pg_options_to_table(reloptions)
            WHERE option_name = 'security_invoker' AND option_value::boolean
        )
    )
    SELECT * FROM findings WHERE roles IS NOT NULL OR is_unprotected OR is_hidden ORDER BY name"""  # noqa: S608 - of constants
"""What is open, and what the current role sees no rows of. A privilege counts however a role came
by it: from PUBLIC, by a membership, or on one column only."""


class Finding(NamedTuple):
    """A row of FINDINGS: a table, sequence or view."""

    name: str
    is_view: bool
    owner: str
    is_owned: bool
    role: str
    roles: str | None
    is_unprotected: bool
    is_hidden: bool


def to_messages(rows: Iterable[Sequence[Any]]) -> list[CheckMessage]:
    """Return what a person should know about the rows of FINDINGS."""
    return [message for row in rows for message in _messages_about(Finding(*row))]


def _messages_about(found: Finding) -> Iterator[CheckMessage]:
    migrate = "Run `python manage.py migrate`"
    if not found.is_owned:
        migrate = f"{migrate} as its owner, {found.owner}"
    if found.roles and found.is_view:
        yield checks.Warning(
            f"This view reads our tables, with the rights of its owner, for {found.roles}.",
            hint="Revoke their privileges, or give it the option security_invoker. If everybody "
            "may see what it shows, name this check in SILENCED_SYSTEM_CHECKS.",
            obj=found.name,
            id="megapolis.W001",
        )
    elif found.roles:
        yield checks.Error(
            f"Open to the Data API: there are privileges of {found.roles}.",
            hint=f"{migrate}. If this does not help, the privilege was granted by another role, or "
            "to a role with these members: `\\dp` in psql shows it.",
            obj=found.name,
            id="megapolis.E003",
        )
    elif found.is_unprotected:
        yield checks.Error(
            "Row-level security is off: a privilege would open it to the Data API.",
            hint=f"{migrate}.",
            obj=found.name,
            id="megapolis.E004",
        )
    if found.is_hidden:
        yield checks.Error(
            f"Row-level security hides its rows from the role of DATABASE_URL, {found.role}.",
            hint=f"Run `ALTER TABLE {found.name} NO FORCE ROW LEVEL SECURITY`."
            if found.is_owned
            else f"Connect as its owner, {found.owner}, or as a member of that role, or let "
            f"{found.role} BYPASSRLS.",
            obj=found.name,
            id="megapolis.E005",
        )
