"""Look-ups that are gathered while another one is under way."""

import asyncio
import gc
from collections.abc import Sequence

import pytest

from megapolis import database, transactions
from megapolis.batch_loader import BatchLoader
from megapolis.logger import request_id
from tests.waiting import eventually

NEVER = 3600.0


class Source:
    """Squares of positive numbers. Each look-up waits until it is let go."""

    def __init__(self, *, patience: float = NEVER) -> None:
        self.asked: list[list[int]] = []
        self.cancelled: list[list[int]] = []
        self.gates: list[asyncio.Event] = []
        self.error: Exception | None = None
        self.loader = BatchLoader(self.load, patience=patience)

    async def load(self, numbers: Sequence[int]) -> dict[int, int]:
        self.asked.append(list(numbers))
        self.gates.append(gate := asyncio.Event())
        try:
            await gate.wait()
        except asyncio.CancelledError:
            self.cancelled.append(list(numbers))
            raise
        if self.error is not None:
            raise self.error
        return {number: number**2 for number in numbers if number > 0}

    def get(self, number: int) -> asyncio.Task[int | None]:
        return asyncio.create_task(self.loader.get(number))


@pytest.fixture
def source() -> Source:
    return Source()


async def under_way(source: Source, count: int) -> None:
    await eventually(lambda: len(source.asked) == count)


async def gathered(source: Source, *numbers: int) -> list[asyncio.Task[int | None]]:
    """Ask for the numbers while another look-up is under way, which is not let go."""
    first = source.get(1)
    await under_way(source, 1)
    tasks = [source.get(number) for number in numbers]
    await eventually(lambda: len(source.loader._waiting) == len(numbers))
    return [first, *tasks]


async def test_one_who_comes_alone_is_served_at_once_and_without_a_task(source: Source) -> None:
    getting = source.loader.get(3)
    getting.send(None)

    assert source.asked == [[3]]
    source.gates[0].set()
    with pytest.raises(StopIteration) as end:
        getting.send(None)
    assert end.value.value == 9


async def test_those_who_come_meanwhile_are_served_together(source: Source) -> None:
    tasks = await gathered(source, 2, -3, 4)
    source.gates[0].set()
    await under_way(source, 2)
    source.gates[1].set()

    assert await asyncio.gather(*tasks) == [1, 4, None, 16]
    assert source.asked == [[1], [2, -3, 4]]


async def test_who_asks_after_a_look_up_began_is_not_served_by_it(source: Source) -> None:
    tasks = await gathered(source, 1)
    source.gates[0].set()
    await tasks[0]

    assert not tasks[1].done()
    await under_way(source, 2)
    source.gates[1].set()
    assert await tasks[1] == 1


async def test_a_look_up_that_hangs_holds_nobody_up() -> None:
    source = Source(patience=0.001)
    hanging = source.get(1)
    await under_way(source, 1)
    late = source.get(2)
    await under_way(source, 2)
    source.gates[1].set()

    assert await late == 4
    assert not hanging.done()
    source.gates[0].set()
    assert await hanging == 1


async def test_who_leaves_is_not_looked_up_and_the_others_are(source: Source) -> None:
    tasks = await gathered(source, 2, 3, 4)
    tasks[1].cancel()
    source.gates[0].set()
    await under_way(source, 2)
    tasks[2].cancel()
    source.gates[1].set()

    assert await tasks[3] == 16
    assert source.asked[1] == [3, 4]
    assert tasks[1].cancelled()
    await asyncio.wait(tasks)
    assert tasks[2].cancelled()


async def test_who_is_cancelled_alone_lets_the_next_begin(source: Source) -> None:
    tasks = await gathered(source, 2)
    tasks[0].cancel()
    await under_way(source, 2)
    source.gates[1].set()

    assert await tasks[1] == 4


async def test_one_that_hangs_is_cancelled_when_all_have_left(source: Source) -> None:
    tasks = await gathered(source, 2, 3)
    source.gates[0].set()
    await under_way(source, 2)
    tasks[1].cancel()
    await asyncio.wait([tasks[1]])
    assert source.cancelled == []

    tasks[2].cancel()
    await eventually(lambda: not source.loader._batches)
    assert source.cancelled == [[2, 3]]
    assert source.loader._under_way == 0


async def test_a_second_one_that_hangs_holds_nobody_up_either() -> None:
    source = Source(patience=0.001)
    tasks = []
    for number in (1, 2, 3):
        tasks.append(source.get(number))
        await under_way(source, number)
    source.gates[2].set()

    assert await tasks[2] == 9
    assert not any(task.done() for task in tasks[:2])
    for gate in source.gates:
        gate.set()
    assert await asyncio.gather(*tasks) == [1, 4, 9]


async def test_one_that_is_cancelled_by_others_leaves_nobody_waiting(source: Source) -> None:
    tasks = await gathered(source, 2)
    source.gates[0].set()
    await under_way(source, 2)
    for batch in source.loader._batches:
        batch.cancel()

    await asyncio.wait(tasks)
    assert tasks[1].cancelled()


async def test_an_error_leaves_nothing_to_the_garbage_collector(source: Source) -> None:
    tasks = await gathered(source, 2, 3)
    source.error = LookupError("away")
    gc.collect()
    gc.disable()
    try:
        for number in (0, 1):
            await under_way(source, number + 1)
            source.gates[number].set()
        await asyncio.wait(tasks)
        assert all(isinstance(task.exception(), LookupError) for task in tasks)
        source.error = None
        del tasks
        await eventually(lambda: not source.loader._batches)
        assert gc.collect() == 0
    finally:
        gc.enable()


async def test_an_error_is_raised_to_all_who_were_looked_up(source: Source) -> None:
    tasks = await gathered(source, 2, 3)
    source.gates[0].set()
    assert await tasks[0] == 1
    await under_way(source, 2)
    source.error = LookupError("away")
    source.gates[1].set()

    assert await asyncio.gather(*tasks[1:], return_exceptions=True) == [source.error] * 2
    source.error = None
    again = source.get(5)
    await under_way(source, 3)
    source.gates[2].set()
    assert await again == 25


async def test_nothing_is_left_behind(source: Source) -> None:
    tasks = await gathered(source, 2, 3)
    source.gates[0].set()
    await under_way(source, 2)
    source.gates[1].set()
    await asyncio.gather(*tasks)
    await eventually(lambda: not source.loader._batches)

    assert source.loader._under_way == 0
    assert source.loader._timer is None
    assert not source.loader._waiting


async def test_what_is_done_for_several_is_logged_for_none_of_them(source: Source) -> None:
    seen: list[str] = []

    async def load(numbers: Sequence[int]) -> dict[int, int]:
        seen.append(request_id.get())
        return await source.load(numbers)

    source.loader = BatchLoader(load, patience=NEVER)
    token = request_id.set("a request")
    tasks = await gathered(source, 2, 3)
    source.gates[0].set()
    await under_way(source, 2)
    source.gates[1].set()
    await asyncio.gather(*tasks)
    request_id.reset(token)

    assert seen == ["a request", "-"]


@pytest.mark.usefixtures("pool")
async def test_in_a_transaction_it_is_looked_up_alone_and_there(source: Source) -> None:
    places: dict[int, object] = {}

    async def load(numbers: Sequence[int]) -> dict[int, int]:
        places[numbers[0]] = transactions.of_this_task()
        return await source.load(numbers)

    source.loader = BatchLoader(load, patience=NEVER)
    tasks = await gathered(source, 2)
    async with database.transaction():
        inside = source.get(3)
        await eventually(lambda: [3] in source.asked)
        source.gates[source.asked.index([3])].set()
        assert await inside == 9
        assert places[3] is transactions.of_this_task()

    source.gates[0].set()
    await under_way(source, 3)
    source.gates[2].set()
    assert await asyncio.gather(*tasks) == [1, 4]
    assert places[1] is places[2] is None
