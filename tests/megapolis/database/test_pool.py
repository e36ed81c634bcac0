"""Which connection gets a statement. The connections are made of nothing."""

import asyncio
import math
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any

import pytest

from megapolis.database import connections as module
from megapolis.database import outages
from megapolis.database.connections import PIPELINES
from megapolis.database.errors import Exhausted
from megapolis.database.pipeline import State
from megapolis.database.pool import LIFETIME, WRITERS, Pool
from tests.waiting import eventually

WIDGETS, USERS = frozenset({"widgets"}), frozenset({"users"})
NO_TABLES: frozenset[str] = frozenset()


class FakeConnection:
    """A connection that is whatever a test says."""

    def __init__(self) -> None:
        self.in_flight: list[None] = []
        self.tables = NO_TABLES
        self.state = State.OPEN
        self.is_stuck = self.is_read_only = False
        self.is_idle = True
        self.since = self.progress_at = monotonic()
        self.round_trip = 0.0
        self.moved = 0
        self.on_response: Any = None

    @property
    def closed(self) -> bool:
        return self.state is State.CLOSED

    def release(self) -> None:
        if self.state is State.RESERVED and self.is_idle:
            self.state = State.OPEN
        else:
            self.disconnect()

    def is_alive(self) -> bool:
        return not self.closed

    def read(self) -> None:
        """Nothing new has come."""

    def move_reads(self) -> None:
        self.moved += 1

    def retire(self) -> None:
        self.state = State.RETIRED
        if not self.in_flight:
            self.disconnect()

    def disconnect(self) -> None:
        self.state = State.CLOSED
        self.on_response(self)

    def load(self, waiting: int) -> None:
        """Have so many statements in flight, and respond to them all the time."""
        self.in_flight, self.progress_at = [None] * waiting, math.inf

    def block(self, tables: frozenset[str]) -> None:
        """Have a statement on these tables in flight for long."""
        self.in_flight, self.tables, self.progress_at = [None], tables, monotonic() - 1

    def respond(self) -> None:
        """Respond to all that is in flight."""
        self.in_flight, self.is_stuck, self.progress_at = [], False, monotonic()
        self.on_response(self)


class World:
    """A pool, and the server that it connects to."""

    def __init__(self, *, size: int, timeout: float) -> None:
        self.made: list[FakeConnection] = []
        self.error: Exception | None = None
        self.attempts = 0
        connect: Any = self.connect
        self.pool = Pool(connect, size=size, timeout=timeout)

    async def connect(self) -> FakeConnection:
        self.attempts += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        self.made.append(FakeConnection())
        return self.made[-1]


@pytest.fixture(autouse=True)
def no_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "_is_away", False)
    monkeypatch.setattr(outages, "_last_seen", {})


@pytest.fixture
async def worlds() -> AsyncIterator[Any]:
    opened: list[World] = []

    async def open_world(*, size: int = 10, patience: float = 5.0) -> World:
        world = World(size=size, timeout=patience)
        opened.append(world)
        world.pool.open()
        await world.pool.filled()
        return world

    yield open_world
    for world in opened:
        for connection in world.made:
            connection.in_flight = []
        await world.pool.close()


async def take(pool: Pool, tables: frozenset[str] = NO_TABLES) -> Any:
    return await pool.acquire(tables)


class TestStatement:
    async def test_goes_to_the_connection_with_the_fewest_in_flight(self, worlds: Any) -> None:
        world = await worlds()
        for connection, waiting in zip(world.made, (3, 1, 2, 5), strict=True):
            connection.load(waiting)

        assert await take(world.pool) is world.made[1]
        assert len(world.made) == PIPELINES

    @pytest.mark.parametrize("state", set(State) - {State.OPEN})
    async def test_goes_to_no_connection_that_is(self, worlds: Any, state: State) -> None:
        world = await worlds()
        for connection in world.made[:3]:
            connection.state = state
        world.made[3].load(7)

        assert await take(world.pool) is world.made[3]

    async def test_never_gets_a_connection_that_a_transaction_reserved_meanwhile(
        self, worlds: Any
    ) -> None:
        """Or it would be committed, or undone, with somebody else's statements."""
        world = await worlds(size=2)
        for connection in world.made:
            connection.block(WIDGETS)
        await take(world.pool)
        await eventually(lambda: all(connection.is_stuck for connection in world.made))
        waiting = asyncio.create_task(take(world.pool))
        await asyncio.sleep(0)

        world.made[0].respond()
        await asyncio.sleep(0)
        reserved = await world.pool.acquire(writes=True, alone=True)
        await asyncio.sleep(0)
        if waiting.done():
            assert waiting.result() is not reserved
        world.pool.release(reserved)

        assert (await waiting).state is State.OPEN


class TestWrite:
    async def test_goes_to_another_connection_than_reads_if_all_are_as_busy(
        self, worlds: Any
    ) -> None:
        """Or the reads behind it would wait for its commit."""
        world = await worlds()

        assert await take(world.pool) is world.made[0]
        assert await world.pool.acquire(writes=True) is world.made[-1]

    async def test_has_further_connections_made_where_none_is_without_statements(
        self, worlds: Any
    ) -> None:
        world = await worlds(size=10)
        for _ in range(5):
            for connection in world.made:
                connection.load(1)
            assert await world.pool.acquire(writes=True) in world.made
            await world.pool.filled()

        assert len(world.made) == WRITERS


class TestStuckConnection:
    async def test_gets_no_more_and_gives_its_reads_up(self, worlds: Any) -> None:
        world = await worlds()
        world.made[0].block(WIDGETS)
        for connection in world.made[1:]:
            connection.load(1)

        await take(world.pool)  # the timer runs while something is in flight
        await eventually(lambda: world.made[0].is_stuck)

        assert world.made[0].moved >= 1
        assert await take(world.pool) is not world.made[0]

    async def test_is_one_that_takes_longer_than_its_round_trips(self, worlds: Any) -> None:
        world = await worlds()
        for connection in world.made:
            connection.block(WIDGETS)
        world.made[0].round_trip = 600.0

        await take(world.pool)
        await eventually(lambda: all(connection.is_stuck for connection in world.made[1:]))

        assert not world.made[0].is_stuck

    async def test_causes_further_connections_only_when_all_are_stuck(self, worlds: Any) -> None:
        world = await worlds(size=10)
        for connection in world.made:
            connection.block(WIDGETS)
        await take(world.pool)
        await eventually(lambda: all(connection.is_stuck for connection in world.made))

        other = await take(world.pool, USERS)

        assert other is world.made[PIPELINES]
        assert len(world.made) <= PIPELINES + 1

    async def test_leaves_a_quarter_of_the_connections_to_other_tables(self, worlds: Any) -> None:
        world = await worlds(size=8, patience=0.1)

        async def block_all() -> None:
            while True:
                (await take(world.pool, WIDGETS)).block(WIDGETS)
                await eventually(
                    lambda: all(each.is_stuck for each in world.made if each.in_flight)
                )

        with pytest.raises(Exhausted):
            await block_all()
        assert sum(connection.is_stuck for connection in world.made) == 6
        assert await take(world.pool, USERS) is not None

    async def test_serves_again_when_it_responds(self, worlds: Any) -> None:
        world = await worlds(size=5)
        for connection in world.made:
            connection.block(WIDGETS)
        await take(world.pool)
        await eventually(lambda: all(connection.is_stuck for connection in world.made))
        waiting = [asyncio.create_task(take(world.pool)) for _ in range(3)]
        await asyncio.sleep(0)

        world.made[0].respond()

        assert await asyncio.gather(*waiting) == [world.made[0]] * 3


class TestTransaction:
    async def test_has_a_connection_to_itself(self, worlds: Any) -> None:
        world = await worlds(size=2)

        reserved = await world.pool.acquire(writes=True, alone=True)
        others = [await take(world.pool) for _ in range(5)]

        assert reserved not in others

    async def test_takes_the_least_busy_connection_if_no_other_can_be_made(
        self, worlds: Any
    ) -> None:
        """Its BEGIN waits behind what is in flight there."""
        world = await worlds(size=2)
        world.made[0].load(9)
        world.made[1].load(4)

        assert await world.pool.acquire(writes=True, alone=True) is world.made[1]

    async def test_gets_a_connection_of_its_own_while_the_others_are_busy(
        self, worlds: Any
    ) -> None:
        world = await worlds(size=10)
        for connection in world.made:
            connection.load(1)

        assert await world.pool.acquire(writes=True, alone=True) is world.made[PIPELINES]

    async def test_leaves_one_connection_to_statements(self, worlds: Any) -> None:
        world = await worlds(size=3, patience=0.05)
        for _ in range(2):
            await world.pool.acquire(writes=True, alone=True)
        for connection in world.made:
            connection.load(1)

        with pytest.raises(Exhausted):
            await world.pool.acquire(writes=True, alone=True)
        assert await take(world.pool) is not None

    async def test_may_have_the_only_connection(self, worlds: Any) -> None:
        world = await worlds(size=1)

        reserved = await world.pool.acquire(writes=True, alone=True)
        waiting = asyncio.create_task(take(world.pool))
        await asyncio.sleep(0)
        assert not waiting.done()
        world.pool.release(reserved)

        assert await waiting is reserved

    async def test_that_is_cancelled_as_it_is_served_gives_the_connection_back(
        self, worlds: Any
    ) -> None:
        world = await worlds(size=1)
        reserved = await world.pool.acquire(writes=True, alone=True)
        first = asyncio.create_task(world.pool.acquire(writes=True, alone=True))
        second = asyncio.create_task(world.pool.acquire(writes=True, alone=True))
        await asyncio.sleep(0)

        world.pool.release(reserved)
        first.cancel()

        assert await second is reserved
        assert first.cancelled()

    async def test_gets_another_connection_if_the_one_it_was_served_is_lost_at_once(
        self, worlds: Any
    ) -> None:
        world = await worlds(size=1)
        reserved = await world.pool.acquire(writes=True, alone=True)
        waiting = asyncio.create_task(world.pool.acquire(writes=True, alone=True))
        await asyncio.sleep(0)

        world.pool.release(reserved)
        reserved.disconnect()

        assert await waiting is world.made[1]

    async def test_that_leaves_a_connection_in_disorder_has_it_closed(self, worlds: Any) -> None:
        world = await worlds(size=1)
        reserved: Any = await world.pool.acquire(writes=True, alone=True)
        reserved.is_idle = False

        world.pool.release(reserved)

        assert reserved.closed
        assert await take(world.pool) is world.made[1]


class TestWaiting:
    async def test_ends_after_the_timeout(self, worlds: Any) -> None:
        world = await worlds(size=1, patience=0.05)
        await world.pool.acquire(writes=True, alone=True)

        with pytest.raises(Exhausted):
            await take(world.pool)
        with pytest.raises(Exhausted):
            await world.pool.acquire(writes=True, alone=True)

    async def test_is_logged_once(self, worlds: Any, log: list[str]) -> None:
        world = await worlds(size=1, patience=0.05)
        await world.pool.acquire(writes=True, alone=True)
        waiting = [asyncio.create_task(take(world.pool)) for _ in range(5)]
        await asyncio.wait(waiting)

        assert all(isinstance(task.exception(), Exhausted) for task in waiting)
        [busy] = [line for line in log if "PostgreSQL" in line]
        assert busy.startswith("WARNING All connections to PostgreSQL are busy")

    async def test_of_many_for_a_locked_table_holds_up_no_others(self, worlds: Any) -> None:
        world = await worlds(size=1, patience=30.0)
        world.made[0].block(WIDGETS)
        await take(world.pool)
        await eventually(lambda: world.made[0].is_stuck)
        waiting = [asyncio.create_task(take(world.pool, WIDGETS)) for _ in range(1000)]
        other = asyncio.create_task(take(world.pool, USERS))
        await asyncio.sleep(0)

        world.made[0].respond()

        assert await other is world.made[0]
        await asyncio.gather(*waiting)


class TestConnecting:
    async def test_that_fails_rejects_all_who_wait_if_there_is_no_connection(
        self, worlds: Any
    ) -> None:
        world = World(size=2, timeout=600.0)
        world.error = OSError("no route")
        world.pool.open()

        with pytest.raises(Exhausted):
            await take(world.pool)
        await world.pool.close()

    async def test_that_failed_is_tried_again_for_the_next_statement(self, worlds: Any) -> None:
        world = World(size=2, timeout=600.0)
        world.error = OSError("no route")
        world.pool.open()
        await world.pool.filled()
        world.error = None

        assert await take(world.pool) is world.made[0]
        await world.pool.close()

    async def test_that_fails_is_not_tried_for_each_statement_if_there_are_others(
        self, worlds: Any
    ) -> None:
        world = await worlds(size=10)
        world.error = OSError("too many connections")
        for connection in world.made:
            connection.load(1)

        for _ in range(20):
            assert await world.pool.acquire(writes=True, alone=True) in world.made
            for connection in world.made:
                connection.state = State.OPEN

        assert world.attempts <= PIPELINES + 3

    @pytest.mark.parametrize("error", [OSError(""), TimeoutError(), UnicodeError("idna")])
    async def test_that_fails_in_any_way_is_logged_once_and_so_is_its_end(
        self, log: list[str], error: Exception
    ) -> None:
        world = World(size=2, timeout=600.0)
        world.error = error
        world.pool.open()
        for _ in range(3):
            with pytest.raises(Exhausted):
                await take(world.pool)
        world.error = None
        await take(world.pool)
        await world.pool.close()

        away, back = [line for line in log if "PostgreSQL" in line]
        assert away.startswith("ERROR PostgreSQL is away: ")
        assert len(away.strip()) > len("ERROR PostgreSQL is away:")
        assert back.startswith("INFO PostgreSQL is back")


class TestConnections:
    async def test_that_are_lost_are_replaced_when_they_are_needed(self, worlds: Any) -> None:
        world = await worlds(size=5)
        for connection in world.made.copy():
            connection.disconnect()

        assert await take(world.pool) is world.made[4]

    async def test_that_are_lost_come_back_to_the_usual_number(self, worlds: Any) -> None:
        world = await worlds(size=10)
        for connection in world.made.copy():
            connection.disconnect()

        await take(world.pool)
        await world.pool.filled()

        assert len(world.made) == 2 * PIPELINES

    async def test_that_could_not_be_made_are_tried_again_while_others_work(
        self, worlds: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "PAUSE", 0.0)
        world = await worlds(size=10)
        world.error = OSError("too many connections")
        for connection in world.made[1:]:
            connection.disconnect()
        await world.pool.filled()
        world.error = None
        world.made[0].load(1)

        await take(world.pool)

        await eventually(lambda: len(world.made) == 2 * PIPELINES - 1)

    async def test_that_died_without_notice_are_passed_over(self, worlds: Any) -> None:
        world = await worlds(size=5)
        world.made[0].is_alive = lambda: world.made[0].disconnect() or False

        assert await take(world.pool) is world.made[1]

    async def test_that_are_old_are_replaced(self, worlds: Any) -> None:
        world = await worlds(size=5)
        for connection in world.made:
            connection.since -= LIFETIME + 1
            connection.load(1)
        await take(world.pool)

        await eventually(lambda: all(each.state is State.RETIRED for each in world.made))
        for connection in world.made.copy():
            connection.in_flight = []
            connection.disconnect()

        assert await take(world.pool) is world.made[4]

    async def test_that_are_old_and_not_needed_are_not_replaced(self, worlds: Any) -> None:
        world = await worlds(size=10)
        for connection in world.made:
            connection.load(1)
        world.pool.release(await world.pool.acquire(writes=True, alone=True))
        world.made[PIPELINES].since -= LIFETIME + 1
        await take(world.pool)

        await eventually(lambda: world.made[PIPELINES].closed)

        assert len(world.made) == PIPELINES + 1

    async def test_whose_session_cannot_write_are_replaced_for_a_write(self, worlds: Any) -> None:
        world = await worlds(size=2)
        for connection in world.made:
            connection.is_read_only = True

        assert await take(world.pool) in world.made
        assert await world.pool.acquire(writes=True) is world.made[2]
        assert [connection.closed for connection in world.made[:2]] == [True, True]
        world.made[2].is_read_only = True
        world.made[2].since -= 1
        reserved = await world.pool.acquire(writes=True, alone=True)
        assert reserved is world.made[3]
        world.pool.release(reserved)

    async def test_are_no_more_than_allowed(self, worlds: Any) -> None:
        world = await worlds(size=6, patience=0.1)
        taking = [
            asyncio.create_task(world.pool.acquire(writes=True, alone=True)) for _ in range(20)
        ]
        await asyncio.wait(taking)

        assert len(world.made) == 6


class TestClosing:
    async def test_rejects_who_waits_and_lets_what_is_in_flight_end(self, worlds: Any) -> None:
        world = await worlds(size=2)
        reserved = await world.pool.acquire(writes=True, alone=True)
        world.made[0].load(1)
        waiting = asyncio.create_task(world.pool.acquire(writes=True, alone=True))
        await asyncio.sleep(0)

        await world.pool.close()

        assert isinstance((await asyncio.gather(waiting, return_exceptions=True))[0], Exhausted)
        assert not world.made[0].closed
        world.pool.release(reserved)
        assert reserved.closed
        with pytest.raises(Exhausted):
            await take(world.pool)
