"""Django's database backend for PostgreSQL, with a schema editor that leaves nothing open."""

from types import TracebackType
from typing import Self

from django.db.backends.postgresql import base, schema

from megapolis.database.exposure import closing


class DatabaseSchemaEditor(schema.DatabaseSchemaEditor):
    """Closes what a migration creates to the Data API, before its transaction is committed."""

    def __enter__(self) -> Self:
        super().__enter__()
        self._before = None if self.collect_sql else closing.existing(self.connection)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # A migration that fails without a transaction leaves what it had created.
        is_kept = exc_type is None or not self.connection.in_atomic_block
        try:
            if is_kept:
                closing.close_new(self.connection, self._before)
        except BaseException as exc:
            super().__exit__(type(exc), exc, exc.__traceback__)
            raise
        super().__exit__(exc_type, exc_value, traceback)


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's, with this schema editor."""

    SchemaEditorClass = DatabaseSchemaEditor
