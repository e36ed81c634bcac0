"""uvicorn's supervisor of several workers, each of which has listeners of its own."""

from collections.abc import Callable, Sequence
from socket import socket

import uvicorn
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from megapolis.logger import logger


class Workers(Multiprocess):
    """As many workers as there are groups of listeners.

    The parent keeps all of them open: who connects while a worker is replaced is heard by the
    next one. A worker that SIGTTIN adds listens with the last one, and SIGTTOU ends none but these.
    """

    def __init__(self, config: uvicorn.Config, groups: Sequence[list[socket]]) -> None:
        super().__init__(config, groups[-1])
        self._groups = groups

    def init_processes(self) -> None:
        """Start a worker for each group."""
        for sockets in self._groups:
            process = Process(self.config, sockets)
            process.start()
            self.processes.append(process)

    def keep_subprocess_alive(self) -> None:
        """Replace every worker that has died or does not answer.

        Without the worker's end of its pipe, which uvicorn keeps, the parent sees at once that the
        pipe is broken. Else it waits for the answer of one that died while it was asked.
        """
        for worker in self.processes:
            worker.child_conn.close()
        self._one_by_one(super().keep_subprocess_alive)

    def restart_all(self) -> None:
        """Replace each worker, which ends when its successor serves; stop at one that does not."""
        self._one_by_one(super().restart_all, until_one_stays=True)

    def handle_ttou(self) -> None:
        """End the worker that was added last, if one was: nobody hears a group without a worker."""
        if self.processes_num > len(self._groups):
            super().handle_ttou()
        else:
            logger.info("Received SIGTTOU, but the first {} workers stay.", len(self._groups))

    def _one_by_one(self, replace: Callable[[], None], *, until_one_stays: bool = False) -> None:
        """Do to each worker, with its listeners at hand, what uvicorn does to all of them."""
        workers = self.processes
        for number, worker in enumerate(list(workers)):
            self.processes = [worker]
            self.sockets = self._groups[min(number, len(self._groups) - 1)]
            replace()
            [workers[number]] = self.processes
            if until_one_stays and workers[number] is worker:
                break
        self.processes = workers
