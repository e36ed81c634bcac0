"""PostgreSQL goes away and comes back, and the API is not restarted."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import pytest

from megapolis import environment
from megapolis.embedded import EmbeddedServer
from megapolis.environment import limits
from tests.megapolis.asgi_request import AsgiRequest


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    parent = environment.BASE_DIR / ".postgres"
    parent.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=parent, prefix="outage-") as folder:
        server = EmbeddedServer(Path(folder), durable=False)
        yield server
        server.stop()


@pytest.fixture
def address(server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Where the server is, which runs."""
    monkeypatch.setattr(limits, "MAX_WAIT", 0.5)
    return {"host": server.start(), "dbname": "postgres", "user": "postgres"}


async def get(handler: Any) -> AsgiRequest:
    return await AsgiRequest("/select-one").run(handler)


class TestOutage:
    async def test_is_answered_with_503_and_over_with_the_first_request_after_it(
        self, handler: Any, open_pool: Any, server: EmbeddedServer, address: dict[str, Any]
    ) -> None:
        await open_pool(**address)
        assert (await get(handler)).status == 200

        server.stop("immediate")
        for _ in range(2):
            away = await get(handler)
            assert away.problem["status"] == 503
            assert away.headers["Retry-After"] == "1"

        server.start()
        started = perf_counter()
        assert (await get(handler)).status == 200
        assert perf_counter() - started < 1

    async def test_at_the_start_of_the_service_heals_by_itself(
        self, handler: Any, open_pool: Any, server: EmbeddedServer, address: dict[str, Any]
    ) -> None:
        server.stop()
        await open_pool(full=False, **address)
        assert (await get(handler)).status == 503

        server.start()

        assert (await get(handler)).status == 200

    async def test_is_told_in_one_line_and_its_end_in_another(
        self,
        handler: Any,
        open_pool: Any,
        server: EmbeddedServer,
        address: dict[str, Any],
        log: list[str],
    ) -> None:
        await open_pool(**address)
        server.stop()
        for _ in range(2):
            await get(handler)
        server.start()
        await get(handler)

        told = [line for line in log if "PostgreSQL is" in line or "pool" in line]
        assert len(told) == 2
        assert told[0].startswith("ERROR PostgreSQL is away: connection ")
        assert told[1].startswith("INFO PostgreSQL is back")
