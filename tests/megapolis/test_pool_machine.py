"""The pool alone, in every order of events that Hypothesis can think of."""

import asyncio
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from megapolis.pool import LIFETIME
from tests.megapolis.world import TIMEOUT, FakeConnection, World


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
