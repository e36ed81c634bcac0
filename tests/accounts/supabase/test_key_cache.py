import asyncio
from collections.abc import AsyncIterator, Iterable

import pytest
from jwt import PyJWK

from accounts.supabase.identity import SupabaseUnavailable
from accounts.supabase.key_cache import KeyCache
from tests.signing import make_key

JWK = PyJWK(make_key(kid="any").jwk())
MINUTE = 60
DAY = 86_400


class Project:
    """What the cache sees of Supabase: a key set, or an error, now or when it is released."""

    def __init__(self, *kids: str) -> None:
        self.kids: Iterable[str] = kids
        self.error: Exception | None = None
        self.fetches = 0
        self.now = 1000.0
        self.answering = asyncio.Event()
        self.answering.set()

    async def fetch(self) -> dict[str, PyJWK]:
        self.fetches += 1
        await asyncio.wait_for(self.answering.wait(), 2)
        if self.error:
            raise self.error
        return dict.fromkeys(self.kids, JWK)

    def clock(self) -> float:
        return self.now


@pytest.fixture
async def project() -> Project:
    return Project("a")


@pytest.fixture
async def cache(project: Project) -> AsyncIterator[KeyCache]:
    cache = KeyCache(project.fetch, monotonic=project.clock)
    yield cache
    await cache.aclose()


async def run_background() -> None:
    """Let every task that can go on do so."""
    for _ in range(10):
        await asyncio.sleep(0)


class TestGet:
    async def test_fetches_the_keys_when_first_asked(
        self, cache: KeyCache, project: Project
    ) -> None:
        assert project.fetches == 0
        assert await cache.get("a") is JWK
        assert project.fetches == 1

    async def test_fetches_once_for_all_who_wait(self, cache: KeyCache, project: Project) -> None:
        project.answering.clear()
        waiting = [asyncio.create_task(cache.get("a")) for _ in range(200)]
        await run_background()
        project.answering.set()
        assert await asyncio.gather(*waiting) == [JWK] * 200
        assert project.fetches == 1

    async def test_goes_on_fetching_for_the_others_when_one_goes_away(
        self, cache: KeyCache, project: Project
    ) -> None:
        project.answering.clear()
        first, second = (asyncio.create_task(cache.get("a")) for _ in range(2))
        await run_background()
        first.cancel()
        await run_background()
        assert first.cancelled()
        project.answering.set()
        assert await second is JWK
        assert project.fetches == 1

    async def test_keeps_the_keys_even_if_all_who_waited_went_away(
        self, cache: KeyCache, project: Project
    ) -> None:
        project.answering.clear()
        waiting = asyncio.create_task(cache.get("a"))
        await run_background()
        waiting.cancel()
        project.answering.set()
        await run_background()
        assert await cache.get("a") is JWK
        assert project.fetches == 1

    async def test_asks_nobody_about_a_known_key_for_five_minutes(
        self, cache: KeyCache, project: Project
    ) -> None:
        await cache.get("a")
        project.now += 5 * MINUTE - 1
        assert await cache.get("a") is JWK
        await run_background()
        assert project.fetches == 1

    async def test_refreshes_after_five_minutes_and_keeps_nobody_waiting(
        self, cache: KeyCache, project: Project
    ) -> None:
        await cache.get("a")
        project.now += 5 * MINUTE
        project.answering.clear()
        assert await cache.get("a") is JWK
        assert await cache.get("a") is JWK
        await run_background()
        assert project.fetches == 2
        project.kids = ["b"]
        project.answering.set()
        await run_background()
        assert await cache.get("a") is None
        assert await cache.get("b") is JWK
        assert project.fetches == 2

    async def test_counts_the_age_of_the_keys_from_when_they_were_asked_for(
        self, cache: KeyCache, project: Project
    ) -> None:
        project.answering.clear()
        waiting = asyncio.create_task(cache.get("a"))
        await run_background()
        project.now += 3
        project.answering.set()
        await waiting
        project.now += 5 * MINUTE - 3
        await cache.get("a")
        await run_background()
        assert project.fetches == 2

    async def test_uses_no_key_of_ten_minutes_without_asking_again(
        self, cache: KeyCache, project: Project
    ) -> None:
        await cache.get("a")
        project.kids = ["b"]
        project.now += 10 * MINUTE
        assert await cache.get("a") is None

    async def test_waits_for_the_refresh_under_way_once_the_keys_are_ten_minutes_old(
        self, cache: KeyCache, project: Project
    ) -> None:
        await cache.get("a")
        project.now += 10 * MINUTE - 1
        project.answering.clear()
        project.kids = ["b"]
        assert await cache.get("a") is JWK
        project.now += 1
        waiting = asyncio.create_task(cache.get("a"))
        await run_background()
        assert not waiting.done()
        project.answering.set()
        assert await waiting is None
        assert project.fetches == 2


class TestUnknownKid:
    async def test_is_looked_for_at_once(self, cache: KeyCache, project: Project) -> None:
        await cache.get("a")
        project.kids = ["b", "a"]
        project.now += 30
        assert await cache.get("b") is JWK
        assert await cache.get("a") is JWK

    async def test_causes_one_fetch_in_thirty_seconds_however_many_there_are(
        self, cache: KeyCache, project: Project
    ) -> None:
        await cache.get("a")
        project.now += 29.9
        for number in range(5_000):
            assert await cache.get(f"unknown {number}") is None
        assert project.fetches == 1
        project.now += 0.1
        for number in range(5_000):
            assert await cache.get(f"unknown {number}") is None
        assert project.fetches == 2

    async def test_is_unknown_to_a_project_without_public_keys(
        self, cache: KeyCache, project: Project
    ) -> None:
        project.kids = []
        assert await cache.get("a") is None
        assert await cache.get("b") is None
        assert project.fetches == 1

    async def test_is_looked_for_by_the_refresh_that_is_under_way(
        self, cache: KeyCache, project: Project
    ) -> None:
        await cache.get("a")
        project.now += 30
        project.answering.clear()
        project.kids = ["a", "b"]
        waiting = [asyncio.create_task(cache.get(kid)) for kid in ("b", "c")]
        await run_background()
        project.answering.set()
        assert await asyncio.gather(*waiting) == [JWK, None]
        assert project.fetches == 2


class TestOutage:
    async def test_leaves_nothing_to_say_without_any_keys(
        self, cache: KeyCache, project: Project
    ) -> None:
        project.error = OSError("away")
        with pytest.raises(SupabaseUnavailable) as caught:
            await cache.get("a")
        assert caught.value.headers == {"Retry-After": "30"}
        assert caught.value.__context__ is None

    async def test_is_not_asked_about_again_for_thirty_seconds_from_the_attempt(
        self, cache: KeyCache, project: Project
    ) -> None:
        project.error = OSError("away")
        with pytest.raises(SupabaseUnavailable):
            await cache.get("a")
        project.error = None
        project.now += 29.5
        with pytest.raises(SupabaseUnavailable) as caught:
            await cache.get("a")
        assert caught.value.headers == {"Retry-After": "1"}
        assert project.fetches == 1
        project.now += 0.5
        assert await cache.get("a") is JWK

    @pytest.mark.parametrize("error", [OSError("away"), TimeoutError(), RuntimeError("odd")])
    async def test_takes_no_known_key_away_for_a_day(
        self, cache: KeyCache, project: Project, error: Exception
    ) -> None:
        await cache.get("a")
        project.error = error
        project.now += DAY - 1
        assert await cache.get("a") is JWK
        project.now += 1
        with pytest.raises(SupabaseUnavailable) as caught:
            await cache.get("a")
        assert caught.value.headers == {"Retry-After": "29"}

    async def test_makes_the_first_after_ten_minutes_wait_and_the_others_not(
        self, cache: KeyCache, project: Project
    ) -> None:
        await cache.get("a")
        project.error = OSError("away")
        project.now += 10 * MINUTE
        for _ in range(100):
            assert await cache.get("a") is JWK
        assert project.fetches == 2
        project.now += 29
        assert await cache.get("a") is JWK
        assert project.fetches == 2
        project.now += 1
        project.error = None
        project.kids = ["b"]
        assert await cache.get("a") is None
        assert project.fetches == 3

    async def test_leaves_it_open_whether_an_unknown_kid_is_a_new_key(
        self, cache: KeyCache, project: Project
    ) -> None:
        await cache.get("a")
        project.error = OSError("away")
        project.now += 40
        for _ in range(2):
            with pytest.raises(SupabaseUnavailable):
                await cache.get("b")
        assert project.fetches == 2
        assert await cache.get("a") is JWK

    async def test_is_in_the_log_without_details(
        self, cache: KeyCache, project: Project, log: list[str]
    ) -> None:
        project.error = OSError("details")
        with pytest.raises(SupabaseUnavailable):
            await cache.get("a")
        assert log == ["WARNING Supabase's keys cannot be fetched (OSError)\n\n"]


class TestEmptySet:
    async def test_does_not_replace_good_keys_for_a_day(
        self, cache: KeyCache, project: Project, log: list[str]
    ) -> None:
        await cache.get("a")
        project.kids = []
        project.now += 10 * MINUTE
        assert await cache.get("a") is JWK
        assert log == [
            "WARNING Supabase answers with no keys at all; the known ones stay in use\n\n"
        ]
        project.now += DAY - 10 * MINUTE - 1
        assert await cache.get("a") is JWK
        project.now += 1 + 30
        assert await cache.get("a") is None

    async def test_replaces_keys_that_are_a_day_old(
        self, cache: KeyCache, project: Project
    ) -> None:
        await cache.get("a")
        project.kids = []
        project.now += DAY
        assert await cache.get("a") is None

    async def test_is_replaced_by_the_first_key(self, cache: KeyCache, project: Project) -> None:
        project.kids = []
        assert await cache.get("a") is None
        project.kids = ["a"]
        project.now += 30
        assert await cache.get("a") is JWK


class TestAreKnown:
    async def test_begins_to_fetch_and_keeps_nobody_waiting(
        self, cache: KeyCache, project: Project
    ) -> None:
        project.answering.clear()
        assert not cache.are_known()
        assert not cache.are_known()
        await run_background()
        assert project.fetches == 1
        project.answering.set()
        await run_background()
        assert cache.are_known()
        assert project.fetches == 1

    async def test_asks_again_after_thirty_seconds(self, cache: KeyCache, project: Project) -> None:
        project.error = OSError("away")
        for seconds, fetches in ((0, 1), (29, 1), (1, 2)):
            project.now += seconds
            assert not cache.are_known()
            await run_background()
            assert project.fetches == fetches

    async def test_is_about_whether_they_were_known_ever(
        self, cache: KeyCache, project: Project
    ) -> None:
        await cache.get("a")
        project.now += 2 * DAY
        assert cache.are_known()
        await run_background()
        assert project.fetches == 1


class TestAclose:
    async def test_ends_the_fetch_that_is_under_way(
        self, cache: KeyCache, project: Project
    ) -> None:
        before = asyncio.all_tasks()
        project.answering.clear()
        waiting = asyncio.create_task(cache.get("a"))
        await run_background()
        await cache.aclose()
        with pytest.raises(SupabaseUnavailable):
            await waiting
        assert asyncio.all_tasks() <= before

    async def test_has_nothing_to_end_before_or_after_a_fetch(self, cache: KeyCache) -> None:
        await cache.aclose()
        await cache.get("a")
        await cache.aclose()
        await cache.aclose()
