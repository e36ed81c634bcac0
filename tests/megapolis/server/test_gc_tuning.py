"""The garbage collector, while the service runs."""

import gc
import weakref

import pytest

from megapolis.server import gc_tuning


class Node:
    """Part of a cycle, if it is told."""

    def __init__(self) -> None:
        self.itself = self


def test_does_not_look_at_what_was_there_before() -> None:
    there = Node()
    gone = weakref.ref(there)
    with gc_tuning.gc_tuned():
        del there
        gc.collect()
        assert gone() is not None

    gc.collect()
    assert gone() is None


def test_still_collects_what_is_made_meanwhile() -> None:
    with gc_tuning.gc_tuned():
        gone = weakref.ref(Node())
        gc.collect()
        assert gone() is None


def test_begins_with_more_objects_than_requests_in_flight_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = gc.get_threshold()
    monkeypatch.setattr(gc_tuning, "IN_FLIGHT", 1000)
    with gc_tuning.gc_tuned():
        assert gc.get_threshold() == (100_000, *before[1:])
    monkeypatch.setattr(gc_tuning, "IN_FLIGHT", 1)
    with gc_tuning.gc_tuned():
        assert gc.get_threshold() == before

    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0
