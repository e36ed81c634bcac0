"""Compiles a query of Django's ORM to SQL that PostgreSQL can prepare."""

import re
from functools import cache
from re import Match
from typing import Any, NamedTuple

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.sql import Query
from psycopg.sql import Literal

from megapolis.database.statements.parameters import Param, type_params


class Compiled(NamedTuple):
    """What is sent: the SQL, what stands for each `$n` of it, and the tables that it names."""

    sql: bytes
    arguments: tuple[Param, ...]
    names: frozenset[str]
    tables: frozenset[str]


@cache
def dialect() -> BaseDatabaseWrapper:
    """Return Django's PostgreSQL, which never connects and has no objection to FOR UPDATE."""
    connection = connections["default"].copy()
    connection.get_autocommit = lambda: False  # type: ignore[method-assign] # a copy of our own
    return connection


def compile_query(query: Query, *, suffix: tuple[str, list[Any]]) -> Compiled:
    """Return the query and what follows it, with `$n` for each parameter, cast to its type."""
    type_params(query)
    compiler: Any = query.get_compiler(connection=dialect(), elide_empty=False)
    compiled = compiler.as_sql()
    sql, arguments = compiled[0] if isinstance(compiled, list) else compiled
    remaining = iter([*arguments, *suffix[1]])
    params: list[Param] = []

    def replace(match: Match[str]) -> str:
        if match[0] == "%%":
            return "%"
        argument = next(remaining)
        if not isinstance(argument, Param):
            # A constant is written out, as on Django's own connections, and so keeps its type.
            return Literal(argument).as_string()
        params.append(argument)
        return f"${len(params)}::{_cast(argument)}"

    sql = re.sub("%[s%]", replace, sql + suffix[0])
    return Compiled(
        sql=sql.encode(),
        arguments=tuple(params),
        names=frozenset(param.name for param in params),
        tables=frozenset(re.findall('(?:FROM|JOIN|INTO|UPDATE) "([^"]+)"', sql)),
    )


def _cast(param: Param) -> str:
    """Return the type without the length: a cast to varchar(9) would cut the value."""
    db_type = param.output_field.cast_db_type(dialect()) or ""
    return db_type.partition("(")[0] if db_type.startswith("varchar") else db_type
