"""What the garbage collector need not look at.

A request of ours leaves no cycle of objects, so a collection amid requests finds what they are at
work on, and frees nothing. What modules consist of, some 110,000 objects, lives as long as the
process; to look through it takes 100 ms, in which nobody is answered.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

PER_REQUEST: Final = 100
"""Objects that a request in flight holds; with 256 in flight some 60 were counted for each."""


IN_FLIGHT: Final = 1000
"""Requests in flight beyond which a collection amid them is accepted."""


@contextmanager
def left_alone() -> Iterator[None]:
    """Within the block, collect only what is made in it, and less often.

    Collections begin with more new objects than IN_FLIGHT requests hold together
    (https://docs.python.org/3/library/gc.html). One block at a time: the first to end undoes what
    the others have set.
    """
    young, *older = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(max(young, PER_REQUEST * IN_FLIGHT), *older)
    try:
        yield
    finally:
        gc.set_threshold(young, *older)
        gc.unfreeze()
