"""What every list and form of the admin has in common."""

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin, messages
from django.core.paginator import Paginator
from django.db import IntegrityError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.functional import cached_property
from django.utils.text import capfirst

from megapolis.admin.actions import ConfirmedActions

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
    BasePaginator = Paginator[Any]
else:
    ModelAdmin = admin.ModelAdmin
    BasePaginator = Paginator

LISTED = 10_000
"""Rows of a list that can be paged through: the last page costs an OFFSET of as many rows."""


class BoundedPaginator(BasePaginator):
    """Pages through the first LISTED rows, and never counts further."""

    @cached_property
    def count(self) -> int:
        """How many rows can be paged through."""
        return min(self._found, LISTED)

    @property
    def is_cut(self) -> bool:
        """Whether there are more."""
        return self._found > LISTED

    @cached_property
    def _found(self) -> int:
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment] # the admin pages no lists
        return rows[: LISTED + 1].count()


class StaffAdmin(ConfirmedActions, ModelAdmin):
    """The base of every model's admin. The newest rows come first."""

    glance: ClassVar[str] = ""
    """What the new rows of a day are called on the first page; empty keeps the model off it.

    The model needs a `created_at` that grows with its id.
    """

    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    list_max_show_all = 0
    delete_confirmation_max_display = 20
    ordering: ClassVar[tuple[str, ...]] = ("-id",)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Refuse what PostgreSQL cannot compare with."""
        return "\x00" not in value and super().lookup_allowed(lookup, value, request)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list under its own name."""
        title = {"title": capfirst(self.opts.verbose_name_plural)}
        return super().changelist_view(request, title | (extra_context or {}))

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Turn a conflict that arose after the form was checked into a sentence."""
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except IntegrityError:
            text = "Not saved: it conflicts with what was saved elsewhere at the same moment."
            messages.error(request, text)
            return HttpResponseRedirect(request.get_full_path())

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *args: Any, **kwargs: Any
    ) -> HttpResponse | None:
        """Refuse an action on more rows than can be paged through."""
        across = request.POST.get("select_across") == "1"
        if across and queryset[LISTED : LISTED + 1].exists():
            messages.error(request, f"That is more than {LISTED:,} rows: filter the list first.")
            return None
        return super().response_action(request, queryset, *args, **kwargs)
