"""Keeps our tables closed to the Data API of a Supabase project.

The Data API serves the schema `public` to everybody who has the project's publishable key, as the
roles `anon` and `authenticated`. By default privileges, many projects grant these roles everything
that is created there. Each table of ours gets row-level security without a policy, and the two
roles, and PUBLIC, lose every privilege on our tables, sequences and functions:

- `closing.close_new` runs at the end of each migration, in its transaction, for all it created.
- `closing.close_tables` runs after `migrate`, for the tables of our models that were open before.
- `checks` names the tables that are open, and those whose rows our own role cannot see.

In a database that has neither role, nothing is changed. Nor is it in tables of others, in views
and functions that no migration of ours has made, and in default privileges, which are for tables
of others too. See docs/decisions/0022-closed-to-the-data-api.md.
"""

from typing import Final

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.recorder import MigrationRecorder

API_ROLES: Final = "'anon', 'authenticated'"

OURS: Final = """
    ours AS (
        SELECT to_regclass(name)::oid AS oid FROM unnest({names}::text[]) AS name
        UNION
        SELECT objid FROM ours JOIN pg_depend ON refobjid = ours.oid
        WHERE refclassid = 'pg_class'::regclass AND classid = 'pg_class'::regclass
    )"""
"""The tables of these names, where the search path finds them, with their partitions and the
sequences of their columns. For `WITH RECURSIVE`."""


def table_names(connection: BaseDatabaseWrapper) -> list[str]:
    """Return the tables of every managed model of the installed apps, quoted."""
    names = connection.introspection.django_table_names()
    names.append(MigrationRecorder.Migration._meta.db_table)
    return sorted(connection.ops.quote_name(name) for name in names)
