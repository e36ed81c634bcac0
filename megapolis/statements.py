"""Statements: SQL that Django's ORM writes once and PostgreSQL keeps prepared.

A statement is an ordinary queryset in which some values are named parameters. Its rows come back
as instances of a pydantic model (or dataclass), whose field names are the columns that are read:

    find = Statement(Widget.objects.filter(pk=Param("id")), row=WidgetResponse)
    widget = await find.one_or_none(id=7)

Compiled at the first call, kept for the life of the process. Statements work the same inside a
request and outside one (see `megapolis.database`), never in a thread, and share the connection of
the `transaction()` that they are called in. Writes return the row that they wrote, in the same
round trip.

What Django computes in Python when it saves an object (`default=`, `auto_now`, `save()`, signals,
cascades) does not happen here: give such columns a `db_default`, or name them in `values`.
"""

import re
from collections.abc import Mapping
from functools import cache, cached_property
from re import Match
from typing import Any, NamedTuple, NoReturn, cast

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Expression, Field, Model, QuerySet
from django.db.models.constants import OnConflict
from django.db.models.expressions import ExpressionList, OutputFieldIsNoneError
from django.db.models.lookups import Lookup
from django.db.models.sql import DeleteQuery, InsertQuery, Query, UpdateQuery
from psycopg.sql import Literal
from pydantic import TypeAdapter

from megapolis import database


class UntypedParam(OutputFieldIsNoneError, TypeError):
    """A parameter stands where there is no column to take the type from."""

    def __init__(self, name: str):
        super().__init__(f'say the type of a parameter: Param("{name}", TextField()), or whichever')


class Param(Expression):
    """A value that is named in the statement and given at each call.

    Compared with a column, or written to one, it takes the column's type. Elsewhere (inside a
    function, in an annotation, as a limit) the type must be said: `Param("prefix", TextField())`.
    The type is sent to PostgreSQL as a cast, so that every call has one plan that can use the
    column's index, whatever the size of the value.
    """

    def __init__(self, name: str, output_field: "Field[Any, Any] | None" = None):
        super().__init__(output_field=output_field)
        self.name = name
        self.has_type = output_field is not None

    def _resolve_output_field(self) -> NoReturn:
        raise UntypedParam(self.name)

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        """Stand in the compiled SQL as one placeholder, and in its parameters as this object."""
        return "%s", [self]

    @property
    def cast(self) -> str:
        """The type in PostgreSQL, without the length: a cast to varchar(9) would cut the value."""
        db_type = self.output_field.cast_db_type(_dialect()) or ""
        return db_type.partition("(")[0] if db_type.startswith("varchar") else db_type


class Compiled(NamedTuple):
    """What is sent: the SQL, and what stands for each `$n` of it."""

    sql: bytes
    arguments: tuple[Param, ...]
    names: frozenset[str]


class Statement[Row]:
    """A SELECT. `limit` is a parameter of its own, for a slice would be compiled as a number."""

    reads = True

    def __init__(self, queryset: QuerySet[Any, Any], *, row: type[Row], limit: Param | None = None):
        if limit and queryset.query.is_sliced:
            raise TypeError("a statement with a limit takes a queryset that is not sliced")
        self.queryset = queryset
        self.row = row
        self.limit = limit

    async def all(self, **values: Any) -> list[Row]:
        """Return every row."""
        rows = await self._run(values)
        columns = self._columns
        return self._rows.validate_python(
            [dict(zip(columns, row, strict=False)) for row in rows], by_name=True
        )

    async def one_or_none(self, **values: Any) -> Row | None:
        """Return the first row, or None where there is none."""
        rows = await self._run(values)
        if not rows:
            return None
        return self._row.validate_python(
            dict(zip(self._columns, rows[0], strict=False)), by_name=True
        )

    async def one(self, **values: Any) -> Row:
        """Return the first row; `LookupError` where there is none."""
        row = await self.one_or_none(**values)
        if row is None:
            raise LookupError(f"the statement found no {self.row.__name__}")
        return row

    async def count(self, **values: Any) -> int:
        """Run it and return how many rows it found or wrote."""
        return len(await self._run(values))

    @cached_property
    def compiled(self) -> Compiled:
        """The SQL as PostgreSQL gets it. Look at `.compiled.sql` when you wonder."""
        query = self._query()
        _type_params(query)
        return _compile(query, suffix=self._suffix())

    def _query(self) -> Query:
        return self.queryset.values_list(*self._columns).query

    def _suffix(self) -> tuple[str, list[Any]]:
        return (" LIMIT %s", [self.limit]) if self.limit else ("", [])

    @cached_property
    def _columns(self) -> tuple[str, ...]:
        row: Any = self.row
        return tuple(getattr(row, "model_fields", None) or row.__dataclass_fields__)

    @cached_property
    def _row(self) -> TypeAdapter[Row]:
        return TypeAdapter(self.row)

    @cached_property
    def _rows(self) -> TypeAdapter[list[Row]]:
        return TypeAdapter(list[self.row])  # type: ignore[name-defined]

    async def _run(self, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        compiled = self.compiled
        if values.keys() != compiled.names:
            raise TypeError(f"the statement takes {sorted(compiled.names)}, not {sorted(values)}")
        arguments = [values[param.name] for param in compiled.arguments]
        return await database.fetch(compiled.sql, arguments, reads=self.reads)


class _Write[Row](Statement[Row]):
    """A statement that writes, and returns the columns of `row` of what it wrote."""

    reads = False

    def _suffix(self) -> tuple[str, list[Any]]:
        meta, quote = self.queryset.model._meta, _dialect().ops.quote_name
        columns = (f"{quote(meta.db_table)}.{quote(meta.get_field(name).column)}"
                   for name in self._columns)  # fmt: skip
        return f" RETURNING {', '.join(columns)}", []


class Insert[Row](_Write[Row]):
    """An INSERT of one row.

    `values` maps field names to parameters or expressions; what it leaves out takes its
    `db_default`. With `unique`, a row that has these fields already is updated with the fields of
    `update` instead, atomically.
    """

    def __init__(
        self,
        model: type[Model],
        values: Mapping[str, Any],
        *,
        row: type[Row],
        unique: tuple[str, ...] = (),
        update: tuple[str, ...] = (),
    ):
        if bool(unique) != bool(update):
            raise TypeError("unique and update go together: which row exists, and what changes")
        super().__init__(model._default_manager.all(), row=row)
        self.values = values
        self.unique = unique
        self.update = update

    def _query(self) -> Query:
        model = self.queryset.model
        fields = [cast("Field[Any, Any]", model._meta.get_field(name)) for name in self.values]
        record = model()
        for field, value in zip(fields, self.values.values(), strict=True):
            setattr(record, field.attname, _typed(value, field))
        query = InsertQuery(
            model,
            on_conflict=OnConflict.UPDATE if self.unique else None,
            update_fields=[model._meta.get_field(name) for name in self.update],
            unique_fields=[model._meta.get_field(name) for name in self.unique],
        )
        query.insert_values(fields, [record], raw=True)
        return query


class Update[Row](_Write[Row]):
    """An UPDATE of the rows of a queryset; `values` as in `Insert`."""

    def __init__(self, queryset: QuerySet[Any, Any], values: Mapping[str, Any], *, row: type[Row]):
        super().__init__(queryset, row=row)
        self.values = values

    def _query(self) -> Query:
        meta = self.queryset.model._meta
        query = cast("UpdateQuery", self.queryset.query.chain(UpdateQuery))
        query.add_update_values(
            {name: _typed(value, meta.get_field(name)) for name, value in self.values.items()}
        )
        return query


class Delete[Row](_Write[Row]):
    """A DELETE of the rows of a queryset. Rows that refer to them must cascade in the database."""

    def _query(self) -> Query:
        return self.queryset.query.chain(DeleteQuery)


def _typed(value: Any, column: Any) -> Any:
    """Return the value, which if it is a parameter has the type of the column or field."""
    if isinstance(value, Param) and not value.has_type:
        return Param(value.name, getattr(column, "output_field", column))
    return value


def _type_params(node: Any) -> None:
    """Give each parameter that is compared with a column the type of the column."""
    if isinstance(node, Lookup):
        if isinstance(node.rhs, ExpressionList):
            values = [_typed(value, node.lhs) for value in node.rhs.get_source_expressions()]
            node.rhs.set_source_expressions(values)
        else:
            node.rhs = _typed(node.rhs, node.lhs)
    if isinstance(node, Query):
        children = [node.where, *node.annotations.values()]
    else:
        children = getattr(node, "get_source_expressions", list)()
    for child in children:
        _type_params(child)


@cache
def _dialect() -> BaseDatabaseWrapper:
    """Return Django's PostgreSQL, which never connects and has no objection to FOR UPDATE."""
    connection = connections["default"].copy()
    connection.get_autocommit = lambda: False  # type: ignore[method-assign]
    return connection


def _compile(query: Query, *, suffix: tuple[str, list[Any]]) -> Compiled:
    compiler: Any = query.get_compiler(connection=_dialect(), elide_empty=False)
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
        return f"${len(params)}::{argument.cast}"

    sql = re.sub("%[s%]", replace, sql + suffix[0])
    return Compiled(sql.encode(), tuple(params), frozenset(param.name for param in params))
