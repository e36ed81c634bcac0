"""Looking up many keys in one statement, for requests that come at the same time.

The idea and the name are those of GraphQL's DataLoader (https://github.com/graphql/dataloader):
while one look-up is under way, those who come meanwhile are gathered, and the next one is for all
of them. Nothing is remembered: a value was read after it was asked for.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import Context
from typing import Final

from megapolis import transactions

PATIENCE: Final = 0.005
"""Seconds for which those who wait are gathered at the longest."""

type _Batch[Key, Value] = list[tuple[Key, asyncio.Future[Value | None]]]


class BatchLoader[Key, Value]:
    """Finds values by key with `load`, which takes keys and returns what it found of them.

    For one event loop. What `load` raises, all of those get whose keys it was given; so a key must
    not be able to make it fail. One that takes longer than `patience` holds others up for so long,
    and is cancelled when nobody waits for it any more.
    """

    def __init__(
        self,
        load: Callable[[Sequence[Key]], Awaitable[Mapping[Key, Value]]],
        *,
        patience: float = PATIENCE,
    ):
        self._load = load
        self._patience = patience
        self._under_way = 0
        self._waiting: _Batch[Key, Value] = []
        self._timer: asyncio.TimerHandle | None = None
        self._batches: dict[asyncio.Task[None], _Batch[Key, Value]] = {}

    async def get(self, key: Key) -> Value | None:
        """Return the value, or None where there is none.

        In a transaction it is looked up alone, as others have no part in that.
        """
        if transactions.of_this_task() is not None:
            return (await self._load([key])).get(key)
        if not self._under_way:
            return (await self._find([key])).get(key)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Value | None] = loop.create_future()
        if not self._waiting:
            self._timer = loop.call_later(self._patience, self._begin_next)
        self._waiting.append((key, future))
        try:
            return await future
        except asyncio.CancelledError:
            self._cancel_abandoned()
            raise
        finally:
            del future  # An error in it would refer to this frame, and this frame to it.

    async def _find(self, keys: Sequence[Key]) -> Mapping[Key, Value]:
        self._under_way += 1
        try:
            return await self._load(keys)
        finally:
            self._under_way -= 1
            self._begin_next()

    def _begin_next(self) -> None:
        """Look up for those who wait, but for those who have left."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch = [waiter for waiter in self._waiting if not waiter[1].done()]
        self._waiting = []
        if batch:
            # In a context of its own, for it belongs to no request and to no transaction.
            task = asyncio.create_task(self._find_for_all(batch), context=Context())
            self._batches[task] = batch
            task.add_done_callback(self._batches.pop)

    async def _find_for_all(self, batch: _Batch[Key, Value]) -> None:
        try:
            _settle(batch, await self._find([key for key, _ in batch]))
        except BaseException as exc:
            _settle(batch, exc)
            if not isinstance(exc, Exception):
                raise
        finally:
            batch.clear()

    def _cancel_abandoned(self) -> None:
        for task, batch in self._batches.items():
            if not task.cancelling() and all(future.done() for _, future in batch):
                task.cancel()


def _settle[Key, Value](
    batch: _Batch[Key, Value], outcome: Mapping[Key, Value] | BaseException
) -> None:
    for key, future in batch:
        if future.done():
            continue
        if isinstance(outcome, BaseException):
            future.set_exception(outcome)
        else:
            future.set_result(outcome.get(key))
