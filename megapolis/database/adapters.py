"""The arguments and rows of a statement, converted by psycopg's adapters.

psycopg does not document all that is imported here, so no other module imports it. What it must
do is in tests/megapolis/database/test_wire_values.py.
"""

from collections.abc import Sequence
from time import monotonic
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.abc import Buffer
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

type Row = tuple[Any, ...]


class Plan:
    """A statement that is prepared on a connection, and how its values are converted."""

    __slots__ = ("_formats", "_transformer", "made_at", "name")

    def __init__(self, connection: AsyncConnection[Any], name: bytes, *, arguments: int) -> None:
        self.name = name
        self.made_at = monotonic()
        self._transformer = Transformer(connection)
        self._formats = [PyFormat.TEXT] * arguments

    def dump(self, arguments: Sequence[Any]) -> Sequence[Buffer | None]:
        """Return the arguments as PostgreSQL's text. Raises psycopg's errors."""
        return self._transformer.dump_sequence(arguments, self._formats)

    def load(self, result: PGresult) -> list[Row]:
        """Return the rows of a result, if it has any. Raises the error that it may be."""
        if result.status == ExecStatus.COMMAND_OK:
            return []
        transformer = self._transformer
        transformer.set_pgresult(result)
        rows = transformer.load_rows(0, result.ntuples, tuple)
        transformer.set_pgresult(None, set_loaders=False)  # Otherwise it keeps the rows alive.
        return rows


def error_of(result: PGresult, *, encoding: str) -> psycopg.Error:
    """Return the error that a result describes."""
    return error_from_result(result, encoding=encoding)
