"""Transactions and savepoints on a connection of their own, beneath `database.transaction()`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass

import psycopg

from megapolis.database.errors import translated
from megapolis.database.wire import Connection


@dataclass
class Transaction:
    """A transaction or a savepoint on a connection."""

    connection: Connection
    is_over: bool = False
    has_savepoint: bool = False
    """A nested one is open. Only statements inside of it may be sent."""


current: ContextVar[Transaction | None] = ContextVar("transaction", default=None)
"""That of this task, and of the tasks that it starts."""


def of_this_task() -> Transaction | None:
    """Return the innermost open transaction, if there is one.

    Raises `RuntimeError` if it has ended meanwhile, or if another task has nested one in it. The
    other one could undo what this task does.
    """
    transaction = current.get()
    if transaction is None:
        return None
    if transaction.is_over:
        raise RuntimeError("the transaction in which this task was started is over")
    if transaction.has_savepoint:
        raise RuntimeError("another task has a nested transaction open: await it first")
    return transaction


@asynccontextmanager
async def begun(connection: Connection) -> AsyncIterator[None]:
    """Open a transaction on the connection, and commit it or roll it back."""
    async with _block(Transaction(connection), b"BEGIN", b"COMMIT", b"ROLLBACK"):
        yield


@asynccontextmanager
async def nested(outer: Transaction) -> AsyncIterator[None]:
    """Set a savepoint, and release it or roll back to it."""
    inner = Transaction(outer.connection)
    outer.has_savepoint = True
    try:
        async with _block(inner, b"SAVEPOINT s", b"RELEASE s", b"ROLLBACK TO s"):
            yield
    finally:
        outer.has_savepoint = False


@asynccontextmanager
async def _block(
    transaction: Transaction, begin: bytes, commit: bytes, rollback: bytes
) -> AsyncIterator[None]:
    connection = transaction.connection
    token = current.set(transaction)
    try:
        await connection.command(begin)
        try:
            try:
                yield
            finally:
                transaction.is_over = True  # What another task sends later would be outside.
            _check(has_failed=connection.has_failed)
        except BaseException:
            connection.cancel_running()
            with suppress(psycopg.OperationalError):  # What is lost is undone.
                # Sent before anything is awaited: the caller may be cancelled again.
                await connection.command(rollback)
            raise
        # A statement that was still in flight may have failed: COMMIT is a silent rollback then.
        _check(has_failed=await connection.command(commit) == b"ROLLBACK")
    except psycopg.Error as exc:
        raise translated(exc) from exc
    finally:
        current.reset(token)


def _check(*, has_failed: bool) -> None:
    if has_failed:
        raise RuntimeError("a statement failed in the transaction, and with it the whole of it")
