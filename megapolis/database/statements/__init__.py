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

from megapolis.database.statements.parameters import Param
from megapolis.database.statements.reads import Statement
from megapolis.database.statements.writes import Delete, Insert, Update

__all__ = ["Delete", "Insert", "Param", "Statement", "Update"]
