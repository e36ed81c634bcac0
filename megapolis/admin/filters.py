"""Filters of lists that any feature may use."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from megapolis.admin.numbers import first_id_since


class CreatedFilter(admin.SimpleListFilter):
    """The rows of the last days, which are those of the highest ids."""

    title = "created"
    parameter_name = "days"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("1", "Past 24 hours"), ("7", "Past 7 days"), ("30", "Past 30 days")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in {"1", "7", "30"}:
            return queryset
        since = datetime.now(UTC) - timedelta(days=int(self.value() or 0))
        return queryset.filter(id__gte=first_id_since(queryset.model, since))
