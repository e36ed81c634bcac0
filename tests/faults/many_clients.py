"""Many clients at once."""

import asyncio

from tests.faults.load import Client
from tests.faults.service import Service


async def connected_clients(service: Service, token: str, number: int) -> list[Client]:
    """Return so many clients that are connected, a few hundred at a time."""
    clients = [Client(service.port, token) for _ in range(number)]
    for start in range(0, number, 200):
        await asyncio.gather(*(client.connect() for client in clients[start : start + 200]))
    return clients
