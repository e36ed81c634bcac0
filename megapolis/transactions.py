"""Transactions and savepoints on a connection, beneath `database.transaction()`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import psycopg

from megapolis.connection import Connection
from megapolis.database_errors import translated


@dataclass
class Transaction:
    """What is open on a connection, or was."""

    connection: Connection
    is_over: bool = False


current: ContextVar[Transaction | None] = ContextVar("transaction", default=None)
"""That of this task, and of the tasks that it starts."""


def of_this_task() -> Transaction | None:
    """Return what is open for this task, if anything is. `RuntimeError` if it was, and is over."""
    transaction = current.get()
    if transaction is not None and transaction.is_over:
        raise RuntimeError("the transaction in which this task was started is over")
    return transaction


@asynccontextmanager
async def block(
    connection: Connection, begin: bytes, commit: bytes, rollback: bytes
) -> AsyncIterator[None]:
    """Send `begin`, and `commit` after what happens inside or `rollback` after an exception."""
    try:
        await connection.command(begin)
        try:
            yield
            _refuse_a_spoilt_one(connection)
        except BaseException:
            if not connection.closed:
                await connection.command(rollback)
            raise
        await connection.command(commit)
    except psycopg.Error as exc:
        raise translated(exc) from exc


def _refuse_a_spoilt_one(connection: Connection) -> None:
    """PostgreSQL answers COMMIT with a silent rollback where a statement has failed before."""
    if connection.has_failed:
        raise RuntimeError("a statement failed in the transaction, and with it the whole of it")
