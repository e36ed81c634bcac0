"""Django's log of who changed what in the admin, which nobody may change."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from megapolis.admin.options import StaffAdmin


class LogEntryAdmin(StaffAdmin):
    """The log entries about the models that the user may view."""

    list_display = ("action_time", "user", "action_flag", "content_type", "target", "what")
    list_display_links = None
    list_select_related = ("user", "content_type")
    list_filter = ("action_flag", ("content_type", admin.RelatedOnlyFieldListFilter))
    sortable_by = ()
    search_fields = ("user__email", "object_repr")
    search_help_text = "The beginning of an email of staff, or of what was changed."
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[LogEntry]:
        """Leave out the entries about models that the user may not view."""
        hidden = [
            model
            for model, model_admin in self.admin_site._registry.items()
            if not model_admin.has_view_permission(request)
        ]
        kinds = ContentType.objects.get_for_models(*hidden).values()
        return super().get_queryset(request).exclude(content_type__in=kinds)

    @admin.display(description="object")
    def target(self, entry: LogEntry) -> str:
        """Return what was changed, with a link unless it was deleted."""
        url = None if entry.is_deletion() else entry.get_admin_url()
        return (
            format_html('<a href="{}">{}</a>', url, entry.object_repr)
            if url
            else (entry.object_repr)
        )

    @admin.display(description="change")
    def what(self, entry: LogEntry) -> str:
        """Return what was done, in words."""
        return entry.get_change_message()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Search by the beginning; only those who may view users also by email."""
        found = Q(object_repr__startswith=search_term.strip())
        if self.admin_site.get_model_admin(get_user_model()).has_view_permission(request):
            found |= Q(user__email__startswith=search_term.strip().lower())
        return queryset.filter(found), False
