"""That the process is alive is asked for while something is broken."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.faults.load import Answer, Client
from tests.faults.service import Service


@asynccontextmanager
async def probed(service: Service) -> AsyncIterator[list[Answer]]:
    """Ask for liveness five times a second. The list has the answers."""
    answers: list[Answer] = []

    async def ask() -> None:
        async with Client(service.port) as prober:
            while True:
                answers.append(await prober.ask("GET", "/livez"))
                await asyncio.sleep(0.2)

    task = asyncio.create_task(ask())
    try:
        yield answers
    finally:
        task.cancel()
        await asyncio.wait([task])


def assert_alive(answers: list[Answer], *, seconds: float) -> None:
    """Each of them said so at once."""
    assert len(answers) > seconds * 3
    assert {answer.status for answer in answers} == {200}
    assert max(answer.seconds for answer in answers) < 1


def slowest_of(answers: list[Answer]) -> str:
    """How long one of them took, for the table."""
    return f"{max(answer.seconds for answer in answers) * 1000:.0f} ms"
