"""The first page: how many rows each model has, how many are new, and the newest."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

from django.contrib.admin import AdminSite
from django.core.cache import cache
from django.db.models import QuerySet
from django.http import HttpRequest

from megapolis.admin.numbers import per_day, total
from megapolis.admin.options import StaffAdmin

NEWEST = 5
CHART_SECONDS = 60
"""How old a chart may be."""


@dataclass(frozen=True)
class Chart:
    """The numbers of consecutive days, which `admin/panel.html` draws."""

    caption: str
    counts: Mapping[date, int]

    @property
    def highest(self) -> int:
        """The number of the best day."""
        return max(self.counts.values())

    @property
    def summary(self) -> str:
        """The numbers in words, also for those who cannot see the bars."""
        return (
            f"{self.caption}: {sum(self.counts.values()):,} in {len(self.counts)} days, "
            f"{self.highest:,} on the best day"
        )


@dataclass(frozen=True)
class Panel:
    """What the first page shows of one model."""

    opts: Any
    total: str
    chart: Chart | None
    newest: QuerySet[Any]


def panels(site: AdminSite, request: HttpRequest) -> list[Panel]:
    """Return a panel for each model that has a `glance` and that this user may view."""
    return [
        Panel(
            opts=model_admin.opts,
            total=total(model_admin.model),
            chart=cache.get_or_set(
                f"chart-{model_admin.opts.label_lower}", partial(_chart, model_admin), CHART_SECONDS
            ),
            newest=model_admin.model._default_manager.order_by("-pk")[:NEWEST],
        )
        for model_admin in site._registry.values()
        if isinstance(model_admin, StaffAdmin)
        and model_admin.glance
        and model_admin.has_view_permission(request)
    ]


def _chart(model_admin: StaffAdmin) -> Chart | None:
    counts = per_day(model_admin.model, until=datetime.now(UTC).date())
    return None if counts is None else Chart(model_admin.glance, counts)
