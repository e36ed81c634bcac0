"""The pool alone, and a server that does not always take its connections."""

from typing import Any

import pytest

from megapolis.database_errors import Exhausted
from tests.megapolis.world import TIMEOUT, World


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
