"""Transactions and savepoints on a reserved connection, beneath `database.transaction()`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import psycopg

from megapolis.database.errors import translated
from megapolis.database.wire import Connection


@dataclass
class Transaction:
    """What is open on a connection, or was."""

    connection: Connection
    is_over: bool = False


current: ContextVar[Transaction | None] = ContextVar("transaction", default=None)
"""That of this task, and of the tasks that it starts."""


def of_this_task() -> Transaction | None:
    """Return the open transaction, if there is one. `RuntimeError` if it has ended meanwhile."""
    transaction = current.get()
    if transaction is not None and transaction.is_over:
        raise RuntimeError("the transaction in which this task was started is over")
    return transaction


@asynccontextmanager
async def block(
    connection: Connection, begin: bytes, commit: bytes, rollback: bytes
) -> AsyncIterator[None]:
    """Send `begin`, and `commit` after the block or `rollback` after an exception."""
    try:
        await connection.command(begin)
        try:
            yield
            _reject(has_failed=connection.has_failed)
        except BaseException:
            await connection.cancel_running()
            if not connection.closed:
                await connection.command(rollback)
            raise
        # A statement that was still in flight may have failed: COMMIT is a silent rollback then.
        _reject(has_failed=await connection.command(commit) == b"ROLLBACK")
    except psycopg.Error as exc:
        raise translated(exc) from exc


def _reject(*, has_failed: bool) -> None:
    if has_failed:
        raise RuntimeError("a statement failed in the transaction, and with it the whole of it")
