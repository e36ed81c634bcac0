"""What every list and form of the admin has in common."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import SOURCE_MODEL_VAR
from django.contrib.admin.utils import NotRelationField, get_fields_from_path
from django.contrib.admin.widgets import AutocompleteSelect
from django.core.exceptions import BadRequest, FieldDoesNotExist, ValidationError
from django.core.paginator import Paginator
from django.db import IntegrityError
from django.db.models import Field, ForeignKey, QuerySet
from django.forms import BooleanField
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.functional import cached_property

from megapolis.admin.actions import ConfirmedActions

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
    BasePaginator = Paginator[Any]
else:
    ModelAdmin = admin.ModelAdmin
    BasePaginator = Paginator

LISTED = 10_000
"""Rows of a list that can be paged through: the last page costs an OFFSET of as many rows."""

COMPARISONS = {"exact", "isnull", "gte", "lt"}
"""With what the filters of lists compare. Others read whole tables, or fail on what they get."""


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


class KeySelect(AutocompleteSelect):
    """Shows nothing as selected where what was sent is no key, on which Django's would fail."""

    def optgroups(self, name: str, value: Sequence[str], attr: Any = None) -> Any:
        """Return the options that are selected."""
        keys = [key for key in value if _is_value(self.field.target_field, key)]
        return super().optgroups(name, keys, attr)


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
        """Reject lookups that the admin does not use."""
        path, is_compared, comparison = lookup.rpartition("__")
        if is_compared and not (comparison in COMPARISONS and self._has_field(path)):
            return False
        return super().lookup_allowed(lookup, value, request)

    def formfield_for_foreignkey(
        self, db_field: "ForeignKey[Any, Any]", request: HttpRequest, **kwargs: Any
    ) -> Any:
        """Let a field with autocompletion bear any value."""
        if db_field.name in self.get_autocomplete_fields(request):
            kwargs["widget"] = KeySelect(db_field, self.admin_site, using=kwargs.get("using"))
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

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

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Forget from which model a popup came: Django believes it, for groups of choices alone."""
        form = request.POST.copy()
        form.pop(SOURCE_MODEL_VAR, None)
        request.POST = form  # type: ignore[assignment] # as Django itself does
        return super().response_add(request, obj, post_url_continue)

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *args: Any, **kwargs: Any
    ) -> HttpResponse | None:
        """Reject an action on more rows than can be paged through, or on what are no rows."""
        if not all(
            _is_value(self.opts.pk, key) for key in request.POST.getlist(ACTION_CHECKBOX_NAME)
        ):
            raise BadRequest("What is selected is no row")
        across = BooleanField().to_python(request.POST.get("select_across"))  # as Django does
        if across and queryset[LISTED : LISTED + 1].exists():
            messages.error(request, f"That is more than {LISTED:,} rows: filter the list first.")
            return None
        return super().response_action(request, queryset, *args, **kwargs)

    def _has_field(self, path: str) -> bool:
        try:
            get_fields_from_path(self.model, path)
        except (FieldDoesNotExist, NotRelationField):
            return False
        return True


def _is_value(field: "Field[Any, Any]", value: str) -> bool:
    try:
        field.to_python(value)
    except ValidationError:
        return False
    return True
