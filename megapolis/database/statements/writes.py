"""Statements that write, and return the rows that they wrote."""

from collections.abc import Mapping
from typing import Any, cast

from django.db.models import Field, Model, QuerySet
from django.db.models.constants import OnConflict
from django.db.models.sql import DeleteQuery, InsertQuery, Query, UpdateQuery

from megapolis.database.statements.compiler import dialect
from megapolis.database.statements.parameters import typed
from megapolis.database.statements.reads import Statement


class _Write[Row](Statement[Row]):
    """A statement that writes, and returns the columns of `row` of what it wrote."""

    reads = False

    def _suffix(self) -> tuple[str, list[Any]]:
        meta, quote = self.queryset.model._meta, dialect().ops.quote_name
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
            setattr(record, field.attname, typed(value, field))
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
            {name: typed(value, meta.get_field(name)) for name, value in self.values.items()}
        )
        return query


class Delete[Row](_Write[Row]):
    """A DELETE of the rows of a queryset. Rows that refer to them must cascade in the database."""

    def _query(self) -> Query:
        return self.queryset.query.chain(DeleteQuery)
