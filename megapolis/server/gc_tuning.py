"""Garbage collection that does not delay requests.

A request leaves no cycle of objects, so a collection during requests frees nothing. Modules hold
some 110,000 objects, which live as long as the process. A collection that examines them takes
100 ms, and every client waits for it.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

PER_REQUEST: Final = 100
"""Objects of a request in flight. With 256 in flight, some 60 each were counted."""
IN_FLIGHT: Final = 1000
"""Requests in flight that start no collection by themselves."""


@contextmanager
def gc_tuned() -> Iterator[None]:
    """Within the block, collect only objects that were made in it, and less often.

    A collection starts when there are more new objects than IN_FLIGHT requests hold
    (https://docs.python.org/3/library/gc.html). Do not nest or overlap these blocks: the end of
    one undoes the settings of all.
    """
    young, *older = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(max(young, PER_REQUEST * IN_FLIGHT), *older)
    try:
        yield
    finally:
        gc.set_threshold(young, *older)
        gc.unfreeze()
