"""Run by each Python of the service under test before anything else, for PYTHONPATH leads here.

It shows what nobody can see from outside of a process, its tasks and its pool, without a door for
that in the service: at SIGUSR2 they are written to a file. And it has the process trust the tests'
key server as if a public authority had signed its certificate, since the service takes no
authority from its environment.
"""

import asyncio
import ctypes
import gc
import json
import os
import signal
import sys
from pathlib import Path

import certifi

FOLDER = Path(os.environ["PROBE_FOLDER"])


def show(number: int, frame: object) -> None:
    """Write what is under way in this process, if it serves already."""
    execute = sys.modules.get("megapolis.database.execute")
    if not (pool := getattr(execute, "_pool", None)):
        return
    aside = getattr(execute, "_aside", None)
    connections = [*pool._connections, *(aside._connections if aside else [])]
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # Who asks does so until there is an answer.
    gc.collect()  # A task whose exception nobody has retrieved is told of when it is collected.
    ctypes.CDLL(None).malloc_trim(0)  # What malloc keeps for later, nobody holds.
    admission = sys.modules["megapolis.http.load_shedding"]
    seen = {
        "tasks": [getattr(task.get_coro(), "__qualname__", "?") for task in asyncio.all_tasks()],
        "in_flight": admission.api.in_flight + admission.staff.in_flight,
        "connections": len(connections),
        "open": sum(not connection.closed for connection in connections),
        "idle": sum(connection.is_idle for connection in connections),
        "waiting": sum(len(lane) for lane in pool._waiting.values()),
    }
    file = FOLDER / str(os.getpid())
    written = file.with_suffix(".new")
    written.write_text(json.dumps(seen))
    written.rename(file)
    signal.signal(signal.SIGUSR2, show)


signal.signal(signal.SIGUSR2, show)
certifi.where = lambda: str(FOLDER / "authority.pem")
