"""The first page, and the numbers on it."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.db import OperationalError
from django.template.loader import render_to_string

from accounts.models import User
from megapolis.admin import numbers
from megapolis.admin.dashboard import Chart
from tests.megapolis.admin.conftest import Staff, orm
from widgets.models import Widget


class TestTheFirstPage:
    async def test_answers_at_a_glance(self, superuser: Staff, user: Any, make_widget: Any) -> None:
        *_, newest = [await make_widget(user) for _ in range(7)]
        cache.clear()
        page = (await superuser.get("/admin/")).text
        assert "New widgets: 7 in 30 days, 7 on the best day" in page
        assert "Sign-ups: 2 in 30 days" in page
        assert f"/admin/widgets/widget/{newest.id}/change/" in page
        assert f"/admin/widgets/widget/{newest.id - 5}/change/" not in page

    async def test_does_without_a_chart_that_takes_too_long(
        self, superuser: Staff, user: Any, make_widget: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from django.db.models import Func

        await make_widget(user)
        monkeypatch.setattr(numbers, "PER_DAY_TIMEOUT", 1)
        monkeypatch.setattr(
            numbers,
            "TruncDate",
            lambda _: Func("created_at", template="(pg_sleep(1)::text || '2026-01-01')"),
        )
        cache.clear()
        page = (await superuser.get("/admin/")).text
        assert "Too many in 30 days" in page


class TestNumbers:
    async def test_a_day_begins_at_midnight_utc(
        self, handler: None, user: Any, make_widget: Any
    ) -> None:
        today = datetime(2026, 3, 10, tzinfo=UTC)
        moments = [
            today - timedelta(days=30),
            today - timedelta(days=29),
            today - timedelta(seconds=1),
            today,
            today + timedelta(hours=23, minutes=59),
        ]

        def count() -> Any:
            for moment, widget in zip(moments, widgets, strict=True):
                Widget.objects.filter(pk=widget.id).update(created_at=moment)
            return numbers.per_day(Widget, until=today.date())

        widgets = [await make_widget(user) for _ in moments]
        counts = await orm(count)
        assert len(counts) == 30
        assert {day.isoformat(): number for day, number in counts.items() if number} == {
            "2026-02-09": 1,
            "2026-03-09": 1,
            "2026-03-10": 2,
        }

    @pytest.mark.parametrize("age", range(8))
    async def test_the_first_id_since_a_moment_is_found(
        self, age: int, handler: None, user: Any, make_widget: Any
    ) -> None:
        widgets = [await make_widget(user) for _ in range(7)]
        now = datetime.now(UTC)

        def find() -> int:
            for days, widget in enumerate(reversed(widgets)):
                moment = now - timedelta(days=days)
                Widget.objects.filter(pk=widget.id).update(created_at=moment)
            Widget.objects.filter(pk=widgets[3].id).delete()
            return numbers.first_id_since(Widget, now - timedelta(days=age, hours=-1))

        found = await orm(find)
        expected = [w.id for d, w in enumerate(reversed(widgets)) if d < age and d != 3]
        later = await orm(
            lambda: list(Widget.objects.filter(pk__gte=found).values_list("pk", flat=True))
        )
        assert sorted(later) == sorted(expected)

    async def test_an_outage_is_not_taken_for_slowness(
        self, handler: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(_: Any) -> Any:
            raise OperationalError("connection lost")

        monkeypatch.setattr(numbers, "dict", fail, raising=False)
        with pytest.raises(OperationalError):
            await orm(lambda: numbers.per_day(User, until=datetime.now(UTC).date()))

    async def test_there_is_no_id_in_an_empty_table(self, handler: None) -> None:
        assert await orm(lambda: numbers.first_id_since(Widget, datetime.now(UTC))) == 0

    async def test_few_rows_are_counted_and_many_estimated(
        self, handler: None, make_user: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for _ in range(4):
            await make_user()
        assert await orm(lambda: numbers.total(User)) == "4"
        monkeypatch.setattr(numbers, "COUNTED", 3)
        assert (await orm(lambda: numbers.total(User))).startswith("about ")


class TestTheChart:
    @pytest.mark.parametrize(
        ("counts", "heights"),
        [
            ((0, 100, 200), [("10", "51"), ("20", "100")]),
            ((1, 10**6), [("00", "2"), ("10", "100")]),
        ],
    )
    def test_has_a_bar_for_each_day_with_something(
        self, counts: tuple[int, ...], heights: list[tuple[str, str]]
    ) -> None:
        assert re.findall(r'x="(\d+)" width="8" height="(\d+)"', draw(*counts)) == heights

    def test_has_no_bar_where_there_is_nothing(self) -> None:
        assert "<rect" not in draw(0)


def draw(*counts: int) -> str:
    """Return the panel of these days."""
    start = date(2026, 1, 1)
    chart = Chart("New", {start + timedelta(days=n): count for n, count in enumerate(counts)})
    return render_to_string("admin/panel.html", {"panel": {"chart": chart, "opts": Widget._meta}})
