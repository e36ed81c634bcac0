"""What PostgreSQL's errors mean, where they mean the same everywhere.

`STATES` is the one table of SQLSTATEs that describe the server and not the statement. Each is a
503 with `Retry-After`. https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import django.db
import psycopg
from psycopg import errors

from megapolis.database import outages
from megapolis.errors import Conflict, ServiceUnavailable, UnprocessableContent


class Exhausted(Exception):
    """No connection could be had: all are in use, the server is away, or the pool is closed."""


class DatabaseUnavailable(ServiceUnavailable):
    """PostgreSQL cannot respond now. Nothing was changed, or it is not known whether it was."""

    detail = "The database is temporarily unavailable"


class ValueNotStorable(UnprocessableContent):
    """A value is outside what its column can hold, such as a number beyond bigint."""

    detail = "A value is out of range"


class ReferenceGone(Conflict):
    """What a new row refers to was deleted meanwhile."""

    detail = "Something that this refers to no longer exists"


@dataclass(frozen=True)
class ServerState:
    """What to do in a state of the server."""

    detail: str = DatabaseUnavailable.detail
    """For the client."""
    retry_after: int = 1
    """Seconds. More where an operator has to act."""
    drops_connection: bool = True
    """Close the connection: a new one may reach another server, or see other settings."""
    repeats_reads: bool = False
    """Repeat a statement that only reads, on another connection."""
    fails_readiness: bool = False
    """The readiness query would not notice, so readiness remembers it for some seconds."""


UNREACHABLE: Final = ServerState(repeats_reads=True)
"""Also for errors without a SQLSTATE: the connection failed or was lost."""
_SCHEMA: Final = ServerState(
    "The database does not match this version of the service",
    retry_after=5,
    drops_connection=False,
)
_RESOURCES: Final = ServerState(
    "The database is out of resources", retry_after=5, fails_readiness=True
)

STATES: Final[Mapping[str, ServerState]] = {
    "08": UNREACHABLE,
    # The server ended the session because its transaction took too long.
    "25P03": UNREACHABLE,
    "25P04": UNREACHABLE,
    # default_transaction_read_only is on, or the server is a standby.
    "25006": ServerState("The database does not accept writes now", retry_after=5),
    # A prepared plan was deallocated, by a pooler perhaps, and so was the one made instead of it.
    "26": ServerState(drops_connection=False),
    # The role or the database is missing, renamed or locked.
    "28": ServerState(retry_after=5),
    "3D": ServerState(retry_after=5),
    # Other members of 40 than these two do not occur here. The statement was repeated before.
    "40": ServerState("Another change was in the way", drops_connection=False),
    "53": _RESOURCES,
    # Often one statement's fault. It must not be able to make the whole process unready.
    "54": replace(_RESOURCES, fails_readiness=False),
    "55": ServerState("The database cannot do this now"),
    # `lock_not_available`: the session is in order, and a new one would wait for the same lock.
    "55P03": ServerState("The data is locked by another change", drops_connection=False),
    "57": UNREACHABLE,
    # `query_canceled`: after `statement_timeout`, or by an operator.
    "57014": ServerState("The database took too long", drops_connection=False),
    "58": ServerState("The database has a system error", retry_after=5, fails_readiness=True),
    # Bugs and corruption. Supavisor reports its own limits so, too.
    "XX": ServerState("The database has an internal error"),
    # Migrations are missing, or a table, a column, a schema or a privilege.
    "3F": _SCHEMA,
    "42P01": _SCHEMA,
    "42703": _SCHEMA,
    "42501": _SCHEMA,
}
"""By class (two characters), and by code for members of a class that differ from it."""


def state_of(exc: BaseException | None) -> ServerState | None:
    """Return the state of the server that an error of psycopg or Django tells of, if it does."""
    driver_error = _driver_error(exc)
    if isinstance(driver_error, psycopg.Error) and (code := sqlstate_of(driver_error)):
        state = STATES.get(code) or STATES.get(code[:2])
        if state is not None:
            return state
    outage = (psycopg.OperationalError, django.db.OperationalError, django.db.InterfaceError)
    return UNREACHABLE if isinstance(exc, outage) else None


def sqlstate_of(exc: BaseException | None) -> str | None:
    """Return the SQLSTATE, which errors that are psycopg's or libpq's own do not have."""
    driver_error = _driver_error(exc)
    if not isinstance(driver_error, psycopg.Error):
        return None
    return driver_error.diag.sqlstate or driver_error.sqlstate


def translated(exc: Exception) -> Exception:
    """Return the error to raise instead; the same one, if only the caller knows what it means."""
    if isinstance(exc, Exhausted):
        return DatabaseUnavailable()
    driver_error = _driver_error(exc)
    if isinstance(driver_error, psycopg.DataError | UnicodeEncodeError):
        return ValueNotStorable()
    if isinstance(driver_error, errors.ForeignKeyViolation):
        return ReferenceGone()
    state = state_of(exc)
    if state is None:
        return exc
    if code := sqlstate_of(exc):
        outages.note(code, str(driver_error), fails_readiness=state.fails_readiness)
    return DatabaseUnavailable(state.detail, retry_after=state.retry_after)


def _driver_error(exc: BaseException | None) -> BaseException | None:
    """Return psycopg's error, which Django wraps in one of its own."""
    return exc.__cause__ or exc if isinstance(exc, django.db.Error) else exc
