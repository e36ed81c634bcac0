"""Everything at once: no caller gets another's rows, none waits for ever, nothing is half done."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
import uvloop

from megapolis import database, environment
from megapolis.database import connection as module
from megapolis.database import execute
from tests.megapolis.database.stress import CREATE, DROP, check, check_pool, stress
from tests.waiting import eventually

type NewLoop = Callable[[], asyncio.AbstractEventLoop]

USERS = 40
LOOPS = pytest.mark.parametrize(
    "new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
PREPARED = pytest.mark.parametrize("is_prepared", [True, False], ids=["prepared", "unprepared"])


@pytest.fixture
def run(pool: None, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`run(new_loop, size=1, seconds=3)` is a stress test on a loop and a pool of its own."""
    ordinary = module.connection_parameters

    def run(new_loop: NewLoop, *, size: int, seconds: float, is_prepared: bool) -> dict[str, int]:
        seed = random.randrange(10**6)
        name = f"stress {seed}"
        monkeypatch.setattr(environment, "DATABASE_PREPARED_STATEMENTS", is_prepared)
        monkeypatch.setattr(environment, "DATABASE_POOL_SIZE", size)
        monkeypatch.setattr(execute, "_pool", None)
        monkeypatch.setattr(
            module,
            "connection_parameters",
            lambda: ordinary() | {"application_name": name, "options": "-c statement_timeout=5s"},
        )
        with asyncio.Runner(loop_factory=new_loop) as runner:
            return runner.run(run_in_a_loop(seed, name, seconds))

    return run


async def run_in_a_loop(seed: int, name: str, seconds: float) -> dict[str, int]:
    told: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context))
    parameters = module.connection_parameters() | {"prepare_threshold": None}
    parameters["application_name"] = "observer"
    async with await psycopg.AsyncConnection.connect(**parameters) as observer:
        await observer.execute(DROP)
        await observer.execute(CREATE)
        try:
            async with database.connected():
                result = await stress(
                    seed, seconds=seconds, users=USERS, application_name=name, per_second=4
                )
                await settled()
                check_pool()
                async with observer.transaction():
                    await check(result, observer)
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            await eventually(lambda: all(task.done() for task in tasks), within=5)
            assert told == [], (seed, told)
        finally:
            await observer.execute(DROP)
    return result.done


async def settled() -> None:
    """Wait until what was cancelled has ended, and the pool works."""
    pool = execute._pool
    assert pool is not None
    await eventually(lambda: not any(each.in_flight for each in pool._connections), within=10)
    for _ in range(3):
        assert await database.fetch(b"SELECT 7", [], reads=True) == [(7,)]
        async with database.transaction():
            assert await database.fetch(b"SELECT 8", [], reads=True) == [(8,)]
    await pool.filled()


class TestStress:
    @LOOPS
    @PREPARED
    def test_mixes_up_and_loses_nothing(
        self, run: Any, new_loop: NewLoop, *, is_prepared: bool
    ) -> None:
        run(new_loop, size=4, seconds=0.8, is_prepared=is_prepared)

    @pytest.mark.faults
    @LOOPS
    @PREPARED
    @pytest.mark.parametrize("size", [1, 2, 4, 10])
    def test_for_a_minute_mixes_up_and_loses_nothing(
        self, run: Any, new_loop: NewLoop, size: int, *, is_prepared: bool
    ) -> None:
        found = run(new_loop, size=size, seconds=60, is_prepared=is_prepared)
        assert len(found) == 10, found
