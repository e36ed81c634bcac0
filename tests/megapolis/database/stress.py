"""Users who read and write at once, while everything goes wrong that can.

Each result carries a value that only its caller knows, and each write a token of its own.
"""

import asyncio
import os
import random
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from itertools import count
from typing import Any, Final

import psycopg
from psycopg import errors, sql

from megapolis import database
from megapolis.database import execute
from megapolis.database.connection import connection_parameters
from megapolis.database.errors import ValueNotStorable
from megapolis.database.pipeline import State

TABLES: Final = ("stress_a", "stress_b", "stress_c")
CREATE: Final = b"""
    CREATE TABLE stress_tokens (token text NOT NULL, part integer NOT NULL, owner integer);
    CREATE TABLE stress_a (id integer PRIMARY KEY, value text);
    CREATE TABLE stress_b (id integer PRIMARY KEY, value text);
    CREATE TABLE stress_c (id integer PRIMARY KEY, value text);
    INSERT INTO stress_a SELECT n, 'a' || n FROM generate_series(1, 20) AS n;
    INSERT INTO stress_b SELECT n, 'b' || n FROM generate_series(1, 20) AS n;
    INSERT INTO stress_c SELECT n, 'c' || n FROM generate_series(1, 20) AS n;
"""
DROP: Final = b"DROP TABLE IF EXISTS stress_tokens, stress_a, stress_b, stress_c"
INSERT: Final = (
    b"INSERT INTO stress_tokens (token, part) VALUES ($1::text, $2::integer) RETURNING token, part"
)
EXPECTED: Final = (
    database.DatabaseUnavailable,
    errors.InFailedSqlTransaction,
    ValueNotStorable,
    RuntimeError,
    TimeoutError,
)
"""Among them is a transaction in which a statement failed."""
LONGEST: Final = 30.0
"""Seconds that no call takes, whatever happens."""


class Undo(Exception):
    """What leaves a transaction."""


class Stress:
    """What the users did, and what they were told."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.tokens = (f"token-{n}" for n in count())
        self.sent: set[str] = set()
        self.acknowledged: set[str] = set()
        self.undone: set[str] = set()
        self.done: dict[str, int] = {}
        self.errors: dict[str, int] = {}
        self.steps: list[Callable[[], Awaitable[None]]] = [
            self.echo,
            self.echo_large,
            self.read_table,
            self.fail,
            self.read_several,
            self.write,
            self.update,
            self.commit,
            self.roll_back,
            self.nest,
            self.sleep,
        ]

    def token(self) -> str:
        token = next(self.tokens)
        self.sent.add(token)
        return token

    async def user(self, until: float) -> None:
        """Do one thing after another; leave every fifth in the middle."""
        loop = asyncio.get_running_loop()
        while loop.time() < until:
            step = self.random.choice(self.steps)
            task: asyncio.Task[None] = asyncio.ensure_future(step())
            if self.random.random() < 0.2:
                await self._leave(task)
            async with asyncio.timeout(LONGEST):
                await self._settle(task, step.__name__)

    async def _leave(self, task: "asyncio.Task[None]") -> None:
        if self.random.random() < 0.5:
            for _ in range(self.random.randrange(12)):
                await asyncio.sleep(0)
        else:
            await asyncio.sleep(self.random.uniform(0, 0.06))
        task.cancel()

    async def _settle(self, task: "asyncio.Task[None]", name: str) -> None:
        await asyncio.wait([task])
        if task.cancelled():
            name = f"{name}, left"
        elif (error := task.exception()) is None:
            self.done[name] = self.done.get(name, 0) + 1
            return
        elif isinstance(error, EXPECTED):
            name = f"{name}, {type(error).__name__}: {str(error)[:60]}"
        else:
            raise error
        self.errors[name] = self.errors.get(name, 0) + 1

    async def echo(self) -> None:
        token = next(self.tokens)
        text = b"SELECT $1::text -- %d" % self.random.randrange(8)
        assert await database.fetch(text, [token], reads=True) == [(token,)]

    async def echo_large(self) -> None:
        token = next(self.tokens) * self.random.choice((1000, 20_000))
        found = await database.fetch(b"SELECT $1::text, $1::text", [token], reads=True)
        assert found == [(token, token)]

    async def read_table(self) -> None:
        table, token = self.random.choice(TABLES), next(self.tokens)
        number = self.random.randint(1, 20)
        text = f"SELECT *, $1::text FROM {table} WHERE id = $2::integer".encode()
        [row] = await database.fetch(text, [token, number], reads=True, tables=frozenset({table}))
        assert (row[0], row[-1]) == (number, token)
        assert row[1].startswith(table[-1])

    async def fail(self) -> None:
        token = next(self.tokens)
        await database.fetch(b"SELECT $1::text, 1 / 0", [token], reads=self.random.random() < 0.7)

    async def read_several(self) -> None:
        steps = self.random.choices([self.echo, self.read_table, self.fail, self.echo_large], k=5)
        await asyncio.gather(*(step() for step in steps), return_exceptions=True)
        await self.echo()

    async def write(self) -> None:
        token = self.token()
        assert await self._insert(token, 0) == [(token, 0)]
        self.acknowledged.add(token)

    async def _insert(self, token: str, part: int) -> Any:
        tables = frozenset({"stress_tokens"})
        return await database.fetch(INSERT, [token, part], reads=False, tables=tables)

    async def update(self) -> None:
        table, number = self.random.choice(TABLES), self.random.randint(1, 20)
        value = f"{table[-1]}{next(self.tokens)}"
        text = f"UPDATE {table} SET value = $1::text WHERE id = $2::integer RETURNING id, value"
        arguments = [value, number]
        found = await database.fetch(
            text.encode(), arguments, reads=False, tables=frozenset({table})
        )
        assert found == [(number, value)]

    async def commit(self) -> None:
        token = self.token()
        async with database.transaction():
            assert await self._insert(token, 0) == [(token, 0)]
            await self.echo()
            if self.random.random() < 0.3:
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.02):
                        await self.sleep()
            await asyncio.gather(self._insert(token, 1), self._insert(token, 2))
        self.acknowledged.add(token)

    async def roll_back(self) -> None:
        token = self.token()
        self.undone.add(token)
        with suppress(Undo):
            async with database.transaction():
                await self._insert(token, 0)
                if self.random.random() < 0.5:
                    await self.fail()
                raise Undo

    async def nest(self) -> None:
        token, undone = self.token(), self.token()
        self.undone.add(undone)
        async with database.transaction():
            await self._insert(token, 0)
            with suppress(Undo, ValueNotStorable):
                async with database.transaction():
                    await self._insert(undone, 0)
                    if self.random.random() < 0.5:
                        await self.fail()
                    raise Undo
            async with database.transaction():
                await self._insert(token, 1)
            await self._insert(token, 2)
        self.acknowledged.add(token)

    async def sleep(self) -> None:
        token, seconds = next(self.tokens), self.random.choice((0.001, 0.03, 0.1))
        text = b"SELECT $1::text, pg_sleep($2::float8)::text"
        reads = self.random.random() < 0.5
        assert await database.fetch(text, [token, seconds], reads=reads) == [(token, "")]


class Faults:
    """Somebody else at the same database."""

    def __init__(self, seed: int, *, application_name: str, per_second: float) -> None:
        self.random = random.Random(seed)
        self.own = f"application_name = '{application_name}' AND datname = current_database()"
        self.pause = 1 / per_second
        self.width = count()
        self.parameters = connection_parameters() | {
            "application_name": "faults",
            "prepare_threshold": None,
        }

    async def run(self, until: float, one_at_a_time: list[str] | None = None) -> None:
        """Cause one after another."""
        loop = asyncio.get_running_loop()
        async with await psycopg.AsyncConnection.connect(**self.parameters) as other:
            while loop.time() < until:
                await asyncio.sleep(self.random.uniform(0, 2 * self.pause))
                name = self.random.choice(
                    one_at_a_time or ["terminate", "terminate", "cancel", "lock", "lock_rows",
                                      "alter", "lose", "deallocate"]
                )  # fmt: skip
                with suppress(errors.LockNotAvailable, errors.DeadlockDetected):
                    await getattr(self, name)(other)

    async def _signal(self, other: Any, function: str) -> None:
        query = sql.SQL(
            "SELECT {}(pid) FROM pg_stat_activity WHERE {} ORDER BY random() LIMIT {}"
        ).format(sql.SQL(function), sql.SQL(self.own), self.random.choice((1, 1, 2, 20)))
        await other.execute(query)

    async def terminate(self, other: Any) -> None:
        await self._signal(other, "pg_terminate_backend")

    async def cancel(self, other: Any) -> None:
        await self._signal(other, "pg_cancel_backend")

    async def lock(self, other: Any) -> None:
        table = self.random.choice((*TABLES, "stress_tokens"))
        async with other.transaction():
            await other.execute("SET LOCAL lock_timeout = '2s'")
            await other.execute(sql.SQL("LOCK TABLE {}").format(sql.Identifier(table)))
            await asyncio.sleep(self.random.choice((0.05, 0.2, 0.4)))

    async def lock_rows(self, other: Any) -> None:
        table = self.random.choice(TABLES)
        async with other.transaction():
            await other.execute("SET LOCAL lock_timeout = '2s'")
            await other.execute(
                sql.SQL("SELECT FROM {} WHERE id < 10 FOR UPDATE").format(sql.Identifier(table))
            )
            await asyncio.sleep(self.random.choice((0.05, 0.2, 0.4)))

    async def alter(self, other: Any) -> None:
        table, column = self.random.choice(TABLES), f"extra_{next(self.width)}"
        async with other.transaction():
            await other.execute("SET LOCAL lock_timeout = '2s'")
            await other.execute(
                sql.SQL("ALTER TABLE {} ADD {} text").format(
                    sql.Identifier(table), sql.Identifier(column)
                )
            )

    async def lose(self, _: Any) -> None:
        """Close the socket on this side, as a network that fails would."""
        if connections := list(_connections()):
            connection = self.random.choice(connections)
            lost = socket.socket(fileno=os.dup(connection.pgconn.socket))
            with suppress(OSError), lost:
                lost.shutdown(socket.SHUT_RDWR)

    async def deallocate(self, _: Any) -> None:
        """Take the plans away, which poolers do."""
        for connection in _connections():
            if connection.state is State.OPEN:
                with suppress(psycopg.Error):
                    await connection.command(b"DEALLOCATE ALL")
                return


def _connections() -> Iterator[Any]:
    pool = execute._pool
    assert pool is not None
    return (each for each in pool._connections if not each.closed)


async def stress(
    seed: int, *, seconds: float, users: int, application_name: str, per_second: float,
    faults: list[str] | None = None,
) -> Stress:  # fmt: skip
    """Let the users work for so long, then look at what they were told and what is there."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    result = Stress(seed)
    trouble = Faults(seed, application_name=application_name, per_second=per_second)
    async with asyncio.timeout(seconds + 2 * LONGEST), asyncio.TaskGroup() as group:
        group.create_task(trouble.run(until, faults))
        for _ in range(users):
            group.create_task(result.user(until))
    return result


async def check(result: Stress, observer: Any) -> None:
    """Every acknowledged write is there once, with all of its parts, and nothing undone is."""
    # A statement that its caller has left may still run.
    for table in (*TABLES, "stress_tokens"):
        await observer.execute(f"LOCK TABLE {table}")
    cursor = await observer.execute(
        "SELECT token, array_agg(part ORDER BY part) FROM stress_tokens GROUP BY token"
    )
    stored = dict(await cursor.fetchall())
    assert all(parts in ([0], [0, 1, 2]) for parts in stored.values()), stored
    assert result.acknowledged <= stored.keys()
    assert not result.undone & stored.keys()
    assert stored.keys() <= result.sent
    assert result.acknowledged


def check_pool() -> None:
    """The pool is whole: nothing is in flight, reserved or in a transaction."""
    pool = execute._pool
    assert pool is not None
    for connection in _connections():
        assert connection.is_idle
        assert not connection.in_flight
        assert connection.state is State.OPEN
    assert not any(pool._waiting.values())
    assert len(pool._connections) <= pool._size
