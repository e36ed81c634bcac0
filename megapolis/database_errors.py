"""What PostgreSQL's errors mean to a client, where they mean the same everywhere."""

import psycopg
from psycopg import errors

from megapolis.errors import Conflict, ServiceUnavailable, UnprocessableContent
from megapolis.pool import Exhausted


class DatabaseUnavailable(ServiceUnavailable):
    """PostgreSQL cannot answer now. Nothing was changed, or the change was not acknowledged."""

    detail = "The database is temporarily unavailable"


class ValueNotStorable(UnprocessableContent):
    """A value is outside what its column can hold, such as a number beyond bigint."""

    detail = "A value is out of range"


class ReferenceGone(Conflict):
    """What a new row refers to was deleted meanwhile."""

    detail = "Something that this refers to no longer exists"


def translated(exc: Exception) -> Exception:
    """Return the error to raise instead; the same one, if only the caller knows what it means."""
    if isinstance(exc, psycopg.OperationalError | Exhausted):
        return DatabaseUnavailable()
    if isinstance(exc, psycopg.DataError | UnicodeEncodeError):
        return ValueNotStorable()
    if isinstance(exc, errors.ForeignKeyViolation):
        return ReferenceGone()
    return exc
