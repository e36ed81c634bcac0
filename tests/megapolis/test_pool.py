"""The pool alone: its connections are made of nothing, and its clock is turned by hand."""

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import pytest

from megapolis.database_errors import Exhausted
from megapolis.pool import LIFETIME
from tests.megapolis.world import STALL, TIMEOUT, FakeConnection, World


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
