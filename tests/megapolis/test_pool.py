"""The pool alone: its connections are made of nothing, and its clock is turned by hand."""

import asyncio
import gc
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from megapolis.pool import LIFETIME, Exhausted, Pool

TIMEOUT, STALL = 2.0, 1.0


class FakeConnection:
    """A connection that is whatever a test says."""

    def __init__(self) -> None:
        self.is_alive = True
        self.is_idle = True
        self.age = 0.0

    def hang_up(self) -> None:
        self.is_alive = self.is_idle = False


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose time stands still until it is told."""

    now = 0.0

    def time(self) -> float:
        return self.now

    def settle(self, seconds: float = 0) -> None:
        """Let so many seconds pass, and all that can happen now."""
        self.now += seconds
        for _ in range(10):
            self.run_until_complete(asyncio.sleep(0))


class World:
    """A pool, the server that it connects to, and those who use it."""

    def __init__(self, *, size: int = 2, max_waiting: int = 3) -> None:
        self.loop = Loop()
        self.unhandled: list[Any] = []
        self.loop.set_exception_handler(lambda _, context: self.unhandled.append(context))
        self.attempts: list[asyncio.Future[FakeConnection]] = []
        self.made: list[FakeConnection] = []
        connect: Any = self.connect
        self.pool = Pool(connect, size=size, max_waiting=max_waiting, timeout=TIMEOUT, stall=STALL)
        self.do(self.pool.open)

    async def connect(self) -> FakeConnection:
        attempt: asyncio.Future[FakeConnection] = self.loop.create_future()
        self.attempts.append(attempt)
        return await attempt

    def do(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call it while the loop runs, and settle."""

        async def call() -> None:
            function(*arguments)

        self.loop.run_until_complete(call())
        self.loop.settle()

    def accept(self) -> FakeConnection:
        """Let the oldest attempt to connect succeed."""
        connection = FakeConnection()
        self.made.append(connection)
        self.attempts.pop(0).set_result(connection)
        self.loop.settle()
        return connection

    def refuse(self, error: Exception) -> None:
        """Let the oldest attempt to connect fail."""
        self.attempts.pop(0).set_exception(error)
        self.loop.settle()

    def start(self, awaitable: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = self.loop.create_task(awaitable)
        self.loop.settle()
        return task

    def take(self) -> asyncio.Task[Any]:
        task = self.start(self.pool.take())
        task.add_done_callback(lambda task: task.cancelled() or task.exception())
        return task

    def give_back(self, connection: Any) -> None:
        self.do(self.pool.give_back, connection)

    def end(self) -> None:
        closing = self.start(self.pool.close())
        assert closing.done()
        self.loop.settle()
        self.loop.close()
        assert self.unhandled == []


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    gc.collect()
    world.end()


@pytest.fixture
def full() -> Iterator[World]:
    """Two connections, and both are taken."""
    world = World()
    for _ in range(2):
        world.accept()
        world.take().result()
    yield world
    gc.collect()
    world.end()


class TestTaking:
    def test_lends_the_connection_that_was_used_last(self, world: World) -> None:
        first, second = world.accept(), world.accept()

        assert world.take().result() is second
        assert world.take().result() is first

    def test_waits_for_one_to_be_made(self, world: World) -> None:
        taking = world.take()
        assert not taking.done()

        assert world.accept() is taking.result()

    def test_serves_those_who_wait_in_their_order(self, full: World) -> None:
        waiting = [full.take() for _ in range(3)]
        one, two = full.made

        full.give_back(two)
        full.give_back(one)

        assert [task.done() for task in waiting] == [True, True, False]
        assert [waiting[0].result(), waiting[1].result()] == [two, one]

    def test_passes_over_connections_that_died_meanwhile(self, world: World) -> None:
        dead = [world.accept(), world.accept()]
        for connection in dead:
            connection.hang_up()

        taking = world.take()

        assert taking.done() is False
        assert world.accept() is taking.result()

    def test_ends_after_the_timeout(self, full: World) -> None:
        taking = full.take()

        full.loop.settle(TIMEOUT - 0.1)
        assert not taking.done()
        full.loop.settle(0.2)

        assert isinstance(taking.exception(), Exhausted)

    def test_is_refused_at_once_behind_too_many_others(self, full: World) -> None:
        waiting = [full.take() for _ in range(3)]

        assert isinstance(full.take().exception(), Exhausted)
        assert not any(task.done() for task in waiting)

    def test_is_refused_at_once_when_nothing_has_come_back_for_long(self, full: World) -> None:
        first = full.take()
        full.loop.settle(STALL + 0.1)
        assert full.pool.is_exhausted
        assert isinstance(full.take().exception(), Exhausted)

        full.give_back(full.made[0])

        assert first.done()
        assert not full.pool.is_exhausted
        assert not full.take().done()

    def test_is_not_refused_while_the_queue_moves(self, full: World) -> None:
        for _ in range(5):
            full.take()
            full.loop.settle(STALL - 0.1)
            full.give_back(full.made[0])
            assert not full.pool.is_exhausted

    @pytest.mark.parametrize("how", ["cancelled", "timed out"])
    def test_is_not_behind_those_who_have_gone(self, full: World, how: str) -> None:
        gone = [full.take() for _ in range(3)]
        if how == "cancelled":
            for task in gone:
                task.cancel()
        full.loop.settle(0 if how == "cancelled" else TIMEOUT)
        assert all(task.done() and (task.cancelled() or task.exception()) for task in gone)

        taking = full.take()
        full.give_back(full.made[0])

        assert taking.result() is full.made[0]

    def test_that_is_cancelled_as_it_is_served_hands_the_connection_on(self, full: World) -> None:
        first, second = full.take(), full.take()

        def serve_and_cancel() -> None:
            full.pool.give_back(full.made[0])  # type: ignore[arg-type]
            first.cancel()

        full.do(serve_and_cancel)

        assert first.cancelled()
        assert second.result() is full.made[0]

    def test_that_is_cancelled_as_it_times_out_is_cancelled(self, full: World) -> None:
        taking = full.take()
        full.loop.call_later(TIMEOUT, taking.cancel)

        full.loop.settle(TIMEOUT)

        assert taking.cancelled()


class TestGivingBack:
    @pytest.mark.parametrize("fault", [{"is_idle": False}, {"age": LIFETIME}])
    def test_one_that_cannot_be_lent_again_closes_it(
        self, full: World, fault: dict[str, Any]
    ) -> None:
        vars(full.made[0]).update(fault)

        full.give_back(full.made[0])

        assert not full.made[0].is_alive
        assert full.pool.available == 0
        assert full.attempts == []

    def test_one_that_cannot_be_lent_again_makes_another_for_who_waits(self, full: World) -> None:
        taking = full.take()
        full.made[0].hang_up()

        full.give_back(full.made[0])

        assert full.accept() is taking.result()


class TestConnecting:
    def test_that_fails_refuses_all_who_wait_where_there_is_no_other(self, world: World) -> None:
        waiting = [world.take(), world.take()]

        world.refuse(OSError("no route"))
        assert not any(task.done() for task in waiting)
        world.refuse(OSError("no route"))

        assert all(isinstance(task.exception(), Exhausted) for task in waiting)

    def test_that_fails_as_the_one_who_waits_is_cancelled_cancels_him(self, world: World) -> None:
        taking = world.take()

        def fail_and_cancel() -> None:
            for attempt in world.attempts:
                attempt.set_exception(OSError("no route"))
            taking.cancel()

        world.do(fail_and_cancel)

        assert taking.cancelled()

    def test_that_fails_leaves_hope_where_another_is_in_use(self, world: World) -> None:
        used = world.accept()
        world.take().result()
        taking = world.take()

        world.refuse(OSError("no route"))
        assert not taking.done()
        world.give_back(used)

        assert taking.result() is used

    @pytest.mark.parametrize("error", [OSError(""), TimeoutError(), UnicodeError("idna"), KeyError])
    def test_that_fails_in_whatever_way_is_told_once(
        self, world: World, log: list[str], error: Any
    ) -> None:
        for _ in range(2):
            world.refuse(error if isinstance(error, Exception) else error("host"))
        world.take()
        world.accept()

        away, back = [line for line in log if "PostgreSQL" in line]
        assert away.startswith("ERROR PostgreSQL is away: ")
        assert len(away.strip()) > len("ERROR PostgreSQL is away:")
        assert back.startswith("INFO PostgreSQL is back")

    def test_that_failed_is_tried_again_by_the_next_one_who_comes(self, world: World) -> None:
        for _ in range(2):
            world.refuse(OSError("no route"))

        taking = world.take()

        assert world.accept() is taking.result()

    def test_that_hangs_keeps_nobody_waiting_for_ever(self, world: World) -> None:
        taking = world.take()

        world.loop.settle(TIMEOUT)

        assert isinstance(taking.exception(), Exhausted)


class TestClosing:
    def test_closes_what_is_idle_refuses_who_waits_and_stops_connecting(self, world: World) -> None:
        idle = world.accept()
        used = world.take().result()
        assert used is idle
        waiting = world.take()

        closing = world.start(world.pool.close())

        assert closing.done()
        assert isinstance(waiting.exception(), Exhausted)
        assert all(attempt.cancelled() for attempt in world.attempts)
        assert used.is_alive
        world.give_back(used)
        assert not used.is_alive
        assert isinstance(world.take().exception(), Exhausted)

    def test_does_not_spoil_the_wait_after_it_is_opened_again(self, full: World) -> None:
        full.take()
        full.start(full.pool.close())
        full.do(full.pool.open)
        taking = full.take()

        full.loop.settle(TIMEOUT + 0.1)

        assert isinstance(taking.exception(), Exhausted)
        for connection in full.made:
            full.give_back(connection)

    def test_closes_a_connection_that_is_made_just_then(self, world: World) -> None:
        connection = FakeConnection()

        def accept_and_close() -> None:
            world.attempts[0].set_result(connection)
            world.pool._is_open = False

        world.do(accept_and_close)

        assert not connection.is_alive


class PoolMachine(RuleBasedStateMachine):
    """Whatever happens in whichever order, every promise of the pool holds."""

    @initialize(size=st.integers(1, 3), max_waiting=st.integers(0, 4))
    def begin(self, size: int, max_waiting: int) -> None:
        self.size, self.max_waiting = size, max_waiting
        self.world = World(size=size, max_waiting=max_waiting)
        self.waiting: list[asyncio.Task[Any]] = []
        self.used: list[FakeConnection] = []
        self.is_closed = False

    @rule()
    def take(self) -> None:
        self.waiting.append(self.world.take())

    @precondition(lambda self: self.world.attempts and not self.is_closed)
    @rule(succeeds=st.booleans())
    def connect(self, *, succeeds: bool) -> None:
        if succeeds:
            self.world.accept()
        else:
            self.world.refuse(OSError("no route"))

    @precondition(lambda self: self.used)
    @rule(data=st.data(), state=st.sampled_from(["clean", "clean", "broken", "lost", "old"]))
    def give_back(self, data: st.DataObject, state: str) -> None:
        connection = self.used.pop(data.draw(st.integers(0, len(self.used) - 1)))
        connection.is_idle = state in {"clean", "old"}
        connection.is_alive = state != "lost"
        connection.age = LIFETIME if state == "old" else 0.0
        self.world.give_back(connection)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data(), at_once=st.booleans())
    def cancel(self, data: st.DataObject, *, at_once: bool) -> None:
        task = self.waiting[data.draw(st.integers(0, len(self.waiting) - 1))]
        if at_once and self.used:
            give_back: Any = self.world.pool.give_back
            self.world.loop.call_soon(give_back, self.used.pop())
        self.world.do(task.cancel)

    @rule()
    def kill_an_idle_connection(self) -> None:
        for connection in self.world.pool._idle[:1]:
            connection.hang_up()

    @rule(seconds=st.sampled_from([0.5, TIMEOUT]))
    def wait(self, seconds: float) -> None:
        self.world.loop.settle(seconds)

    @rule()
    def close(self) -> None:
        assert self.world.start(self.world.pool.close()).done()
        self.is_closed = True

    @invariant()
    def holds(self) -> None:
        self._let_go()
        pool, used = self.world.pool, self.used
        attempts = [attempt for attempt in self.world.attempts if not attempt.done()]
        assert len(set(map(id, used))) == len(used), "lent twice"
        assert all(connection.is_alive for connection in used), "lent when it was closed"
        assert pool._size == len(used) + len(pool._idle) + len(attempts) <= self.size
        assert len(self.waiting) == len(pool._waiting) <= self.max_waiting
        assert not (self.waiting and pool._idle), "waits though one is idle"
        assert not self.waiting or used or attempts, "waits for nothing"
        kept = {*map(id, used), *map(id, pool._idle)}
        lost = [made for made in self.world.made if made.is_alive and id(made) not in kept]
        assert lost == [], "left open"
        assert not self.is_closed or not (self.waiting or pool._idle or attempts)
        assert self.world.unhandled == []

    def _let_go(self) -> None:
        """Move those who were served from `waiting` to `used`, and see that it was in order."""
        served = [not task.cancelled() and task.done() for task in self.waiting]
        served = [
            done and task.exception() is None
            for done, task in zip(served, self.waiting, strict=True)
        ]
        still = [not task.done() for task in self.waiting]
        if True in still:
            assert True not in served[still.index(True) :], "served out of turn"
        self.used += [task.result() for task, s in zip(self.waiting, served, strict=True) if s]
        self.waiting = [task for task, s in zip(self.waiting, still, strict=True) if s]

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.close()
            for connection in self.used:
                self.world.give_back(connection)
            self.world.end()
            assert not any(connection.is_alive for connection in self.world.made)
            assert self.world.pool._size == 0


TestEverySequence = PoolMachine.TestCase
TestEverySequence.settings = settings(max_examples=150, stateful_step_count=30)


def test_ten_thousand_users_leave_nothing_behind(full: World) -> None:
    one, two = full.made
    full.give_back(one)
    full.give_back(two)

    async def use(times: int) -> int:
        for number in range(times):
            users = [asyncio.create_task(full.pool.take()) for _ in range(3)]
            await asyncio.sleep(0)
            if number % 2:
                users[2].cancel()
            for user in users:
                try:
                    full.pool.give_back(await user)
                except asyncio.CancelledError:
                    assert number % 2
        gc.collect()
        return len(gc.get_objects())

    before = full.loop.run_until_complete(use(100))

    assert full.loop.run_until_complete(use(10_000)) - before < 100
    assert full.pool.available == 2
