"""Widgets, for staff."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet, Value
from django.db.models.functions import Collate, Lower
from django.http import HttpRequest, StreamingHttpResponse

from accounts.visibility import is_email_shown
from megapolis.admin import CreatedFilter, StaffAdmin, csv_response
from megapolis.rest import clean_text
from widgets.models import LAST_NAME, NAME_COLLATION, Widget

if TYPE_CHECKING:
    WidgetModelForm = forms.ModelForm[Widget]
else:
    WidgetModelForm = forms.ModelForm

COLUMNS: Mapping[str, str] = {
    "id": "id",
    "name": "name",
    "owner id": "owner_id",
    "owner": "owner__email",
    "created": "created_at",
    "updated": "updated_at",
}


class WidgetForm(WidgetModelForm):
    """Holds names to what the API holds them to."""

    def clean_name(self) -> str:
        """Return the name as it is stored."""
        try:
            return clean_text(self.cleaned_data["name"])
        except ValueError as exc:
            raise ValidationError(f"The name {exc}.") from None


@admin.register(Widget)
class WidgetAdmin(StaffAdmin):
    """Widgets of everybody."""

    glance = "New widgets"
    form = WidgetForm
    fields = ("name", "owner", "created_at", "updated_at")
    readonly_fields = ("created_at", "updated_at")
    autocomplete_fields = ("owner",)
    list_display = ("name", "owner", "created", "updated_at")
    list_select_related = ("owner",)
    list_filter = (CreatedFilter,)
    sortable_by = ("name", "created")
    search_fields = ("name",)
    search_help_text = "The beginning of a name, in any case."
    actions = ("export",)

    @admin.display(description="created", ordering="id")
    def created(self, widget: Widget) -> datetime:
        """Sorted by id, which is the order of creation and indexed."""
        return widget.created_at

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Widget], search_term: str
    ) -> tuple[QuerySet[Widget], bool]:
        """Search, and sort, by the index of names."""
        if not search_term.strip():
            return queryset, False
        first, last = (
            Lower(Collate(Value(search_term.strip() + end), NAME_COLLATION))
            for end in ("", LAST_NAME)
        )
        found = queryset.alias(folded=Lower("name")).filter(folded__gte=first, folded__lt=last)
        return found.order_by("folded", "id"), False

    @admin.action(description="Export as CSV", permissions=["view"])
    def export(self, request: HttpRequest, queryset: QuerySet[Widget]) -> StreamingHttpResponse:
        """Download the selection."""
        columns = {
            heading: lookup
            for heading, lookup in COLUMNS.items()
            if lookup != "owner__email" or is_email_shown()
        }
        return csv_response(queryset, columns=columns, filename="widgets.csv")
