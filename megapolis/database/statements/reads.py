"""Statements that read."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from django.db.models import QuerySet
from django.db.models.sql import Query
from pydantic import TypeAdapter

from megapolis.database import execute
from megapolis.database.statements.compiler import Compiled, compile_query
from megapolis.database.statements.parameters import Param


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
        return self._rows([dict(zip(columns, row, strict=False)) for row in rows], by_name=True)

    async def one_or_none(self, **values: Any) -> Row | None:
        """Return the first row, or None where there is none."""
        rows = await self._run(values)
        if not rows:
            return None
        return self._row(dict(zip(self._columns, rows[0], strict=False)), by_name=True)

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
        return compile_query(self._query(), suffix=self._suffix())

    def _query(self) -> Query:
        return self.queryset.values_list(*self._columns).query

    def _suffix(self) -> tuple[str, list[Any]]:
        return (" LIMIT %s", [self.limit]) if self.limit else ("", [])

    @cached_property
    def _columns(self) -> tuple[str, ...]:
        row: Any = self.row
        return tuple(getattr(row, "model_fields", None) or row.__dataclass_fields__)

    @cached_property
    def _row(self) -> Callable[..., Row]:
        return TypeAdapter(self.row).validator.validate_python

    @cached_property
    def _rows(self) -> Callable[..., list[Row]]:
        rows = list[self.row]  # type: ignore[name-defined] # a type that is known at run time only
        return TypeAdapter(rows).validator.validate_python

    async def _run(self, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        compiled = self.compiled
        if values.keys() != compiled.names:
            raise TypeError(f"the statement takes {sorted(compiled.names)}, not {sorted(values)}")
        arguments = [values[param.name] for param in compiled.arguments]
        return await execute.fetch(
            compiled.sql, arguments, reads=self.reads, tables=compiled.tables
        )
