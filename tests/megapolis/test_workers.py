"""uvicorn's supervisor, which is shown one worker at a time; `tests/faults` has the real one."""

from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from uvicorn.supervisors import Multiprocess

from megapolis.workers import Workers


class Worker(str):
    """The name of what uvicorn would have started, with its end of the pipe."""

    __slots__ = ()
    child_conn = BytesIO()


def supervisor(*workers: str, groups: int) -> Any:
    """One that has started nothing, and listens to no signal."""
    supervisor: Any = object.__new__(Workers)
    supervisor.processes = list(map(Worker, workers))
    supervisor._groups = [f"group {number}" for number in range(groups)]
    return supervisor


def replacing(stays: str = "") -> Callable[[Any], None]:
    """What uvicorn does to its workers, but for the one that stays."""

    def replace(supervisor: Any) -> None:
        for number, worker in enumerate(supervisor.processes):
            if worker == stays:
                return
            supervisor.processes[number] = Worker(f"{worker} anew with {supervisor.sockets}")

    return replace


@pytest.mark.parametrize("method", ["restart_all", "keep_subprocess_alive"])
def test_a_new_worker_has_the_listeners_of_the_one_before(
    monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr(Multiprocess, method, replacing())
    workers = supervisor("a", "b", "added", groups=2)

    getattr(workers, method)()

    assert workers.processes == [
        "a anew with group 0", "b anew with group 1", "added anew with group 1",
    ]  # fmt: skip


def test_a_restart_ends_with_the_first_worker_that_cannot_be_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Multiprocess, "restart_all", replacing(stays="b"))
    workers = supervisor("a", "b", "c", groups=3)

    workers.restart_all()

    assert workers.processes == ["a anew with group 0", "b", "c"]


def test_one_worker_that_lives_does_not_keep_the_next_from_being_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Multiprocess, "keep_subprocess_alive", replacing(stays="a"))
    workers = supervisor("a", "b", groups=2)

    workers.keep_subprocess_alive()

    assert workers.processes == ["a", "b anew with group 1"]
