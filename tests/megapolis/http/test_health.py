"""Health, as a supervisor and a load balancer ask for it."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django import Settings

from accounts import supabase
from megapolis import asgi, database, environment
from megapolis.database import execute, readiness
from megapolis.environment import limits
from megapolis.http import health
from megapolis.server import shutdown
from megapolis.settings import API_HEADERS
from tests.fakes import FakeSupabase
from tests.megapolis.asgi_request import AsgiRequest
from tests.waiting import eventually_equals


@pytest.fixture(autouse=True)
def unknown_readiness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "readiness", health.Readiness())


async def ask(path: str, **options: Any) -> AsgiRequest:
    return await AsgiRequest(path, **options).run(asgi.application)


async def is_ready() -> bool:
    return (await ask("/readyz")).status == 200


class TestLiveness:
    async def test_needs_no_database_and_no_thread(self, started_threads: list[str]) -> None:
        answer = await ask("/livez")

        assert (answer.status, answer.content) == (200, b'{"status":"alive"}')
        assert started_threads == []

    @pytest.mark.parametrize("path", sorted(health.PATHS))
    async def test_is_answered_to_any_host_with_every_header_and_without_a_log(
        self, db: None, log: list[str], path: str
    ) -> None:
        answer = await ask(path, headers={"host": "10.0.0.7:8000"})

        assert answer.status == 200
        assert API_HEADERS.items() <= answer.headers.items()
        assert not [line for line in log if path in line]

    @pytest.mark.parametrize("path", sorted(health.PATHS))
    async def test_is_for_reading(self, db: None, path: str) -> None:
        rejected = await ask(path, method="POST")

        assert rejected.problem["status"] == 405
        assert rejected.headers["Allow"] == "GET, HEAD"
        assert (await ask(path, method="HEAD")).status == 200


class TestReadiness:
    async def test_is_there_with_a_migrated_database(self, db: None) -> None:
        answer = await ask("/readyz")

        assert (answer.status, answer.content) == (200, b'{"status":"ready"}')

    async def test_is_asked_of_the_database_once_however_many_ask(
        self, db: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        statements: list[bytes] = []
        fetch = database.fetch_aside

        async def count(sql: bytes, *arguments: Any, **options: Any) -> Any:
            statements.append(sql)
            return await fetch(sql, *arguments, **options)

        monkeypatch.setattr(execute, "fetch_aside", count)
        answers = await asyncio.gather(*(is_ready() for _ in range(20)))

        assert all(answers)
        assert statements == [readiness.QUESTION]
        assert await is_ready()
        assert statements == [readiness.QUESTION] * 2

    async def test_needs_the_database_and_comes_back_with_it(
        self, open_pool: Any, log: list[str]
    ) -> None:
        await open_pool(full=False, host="/nowhere")
        rejected = await ask("/readyz")

        assert rejected.problem["detail"] == "Not ready"
        assert rejected.headers["Retry-After"] == "1"
        assert any("Not ready: the database does not answer" in line for line in log)

        await database.close_pool()
        await open_pool()
        assert await is_ready()
        assert any(line.startswith("INFO Ready") for line in log)

    async def test_does_not_wait_for_a_database_that_does_not_answer(
        self, open_pool: Any, observer: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await open_pool(size=1)
        await observer.execute("BEGIN; LOCK TABLE django_migrations")

        with monkeypatch.context() as impatient:
            impatient.setattr(limits, "MAX_WAIT", 0.05)
            assert not await is_ready()

        await observer.execute("ROLLBACK")
        assert await is_ready()

    async def test_needs_every_migration(
        self, db: None, monkeypatch: pytest.MonkeyPatch, log: list[str]
    ) -> None:
        newer = readiness.expected_migrations() | {("widgets", "0999_newer"): []}
        monkeypatch.setattr(readiness, "expected_migrations", lambda: newer)

        assert not await is_ready()
        assert any("migrations are not applied: widgets.0999_newer" in line for line in log)

    async def test_needs_any_migration(self, open_pool: Any) -> None:
        await open_pool(dbname="postgres")

        assert not await is_ready()

    async def test_needs_a_role_that_may_read_the_migrations(
        self, db: None, monkeypatch: pytest.MonkeyPatch, log: list[str]
    ) -> None:
        refuse = b"DO $$ BEGIN RAISE insufficient_privilege; END $$"
        monkeypatch.setattr(readiness, "QUESTION", refuse)
        monkeypatch.setattr(readiness, "needed_columns", lambda: ())

        assert (await ask("/readyz")).problem["status"] == 503
        assert any("Not ready: the readiness query failed with 42501: " in line for line in log)

    async def test_ends_when_the_service_is_told_to_stop(
        self, db: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert await is_ready()
        monkeypatch.setattr(shutdown, "_is_announced", True)

        assert not await is_ready()
        assert (await ask("/livez")).status == 200

    async def test_is_not_lost_when_one_worker_is_replaced(
        self, db: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(shutdown, "_has_begun", False)
        monkeypatch.setattr(shutdown, "_is_announced", False)
        shutdown.begin(alone=True)

        assert shutdown.has_begun()
        assert await is_ready()


async def no_reason() -> None:
    """A check that has nothing to object."""


async def no_keys() -> str:
    return "the keys are missing"


async def failing() -> str:
    raise LookupError("no such bucket")


async def hanging() -> str:
    await asyncio.Event().wait()
    raise AssertionError


class TestReadinessChecksOfFeatures:
    async def test_say_why_the_process_is_not_ready(
        self, db: None, settings: Settings, log: list[str]
    ) -> None:
        settings.API_READINESS = [f"{__name__}.no_reason", f"{__name__}.no_keys"]

        assert not await is_ready()
        assert any("Not ready: the keys are missing" in line for line in log)

    async def test_are_passed_when_none_has_a_reason(self, db: None, settings: Settings) -> None:
        settings.API_READINESS = [f"{__name__}.no_reason"]

        assert await is_ready()

    @pytest.mark.parametrize(
        ("check", "why"),
        [
            ("failing", "failing failed: LookupError: no such bucket"),
            ("hanging", "hanging failed: TimeoutError"),
            ("misspelt", "misspelt failed: ImportError"),
        ],
    )
    async def test_that_fail_or_hang_make_the_process_unready(
        self,
        db: None,
        settings: Settings,
        log: list[str],
        monkeypatch: pytest.MonkeyPatch,
        check: str,
        why: str,
    ) -> None:
        monkeypatch.setattr(limits, "ANSWER_TIMEOUT", 0.01)
        settings.API_READINESS = [f"{__name__}.{check}"]

        assert (await ask("/readyz")).status == 503
        assert any(f"Not ready: {__name__}.{why}" in line for line in log)


class TestReadinessWithAProject:
    @pytest.fixture
    def project(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSupabase]:
        with FakeSupabase() as project:
            monkeypatch.setattr(environment, "SUPABASE_URL", project.url)
            yield project

    async def test_waits_for_its_keys_and_asks_for_them(
        self, db: None, project: FakeSupabase
    ) -> None:
        async with supabase.verifying():
            await eventually_equals(is_ready, value=True)
        assert len(project.requests) == 1
