"""Actions that ask before they act, and say in the log what they did."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import CHANGE, LogEntry
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.text import capfirst

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin

NAMED = 20
"""How many rows the confirmation page names."""


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """The words of an action: `verb` as on its button, `done` as in the log."""

    verb: str
    done: str
    consequence: str
    dangerous: bool = False


class ConfirmedActions(ModelAdmin):
    """Adds `confirm` to an admin."""

    def may_act_on(self, request: HttpRequest, row: Any) -> bool:
        """Whether an action may touch this row; the others are left alone, and that is said."""
        return self.has_change_permission(request, row)

    def confirm(
        self,
        request: HttpRequest,
        queryset: QuerySet[Any],
        *,
        action: Confirmation,
        apply: Callable[[QuerySet[Any]], object],
    ) -> HttpResponse | None:
        """Show what would happen, and at the second call, with the answer, `apply` it."""
        if "confirmed" not in request.POST:
            return self._ask(request, queryset, action)
        with transaction.atomic():
            rows = [row for row in queryset if self.may_act_on(request, row)]
            apply(self.model._default_manager.filter(pk__in=[row.pk for row in rows]))
            self._log(request, rows, action)
        gc_tuned = queryset.count() - len(rows)
        if rows:
            messages.success(request, f"{capfirst(action.done)}: {self._amount(len(rows))}.")
        if gc_tuned > 0:
            text = f"Left alone, because you may not do that: {self._amount(gc_tuned)}."
            messages.warning(request, text)
        return None

    def _ask(
        self, request: HttpRequest, queryset: QuerySet[Any], action: Confirmation
    ) -> TemplateResponse:
        count = queryset.count()
        kept = ("action", "CHANGE_FORM-action", "select_across", "index", ACTION_CHECKBOX_NAME)
        context = {
            **self.admin_site.each_context(request),
            "title": f"{action.verb} {self._amount(count)}?",
            "action": action,
            "opts": self.opts,
            "rows": queryset[:NAMED],
            "more": max(0, count - NAMED),
            "kept": [(name, value) for name in kept for value in request.POST.getlist(name)],
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/confirm_action.html", context)

    def _log(self, request: HttpRequest, rows: Iterable[Any], action: Confirmation) -> None:
        LogEntry.objects.log_actions(
            request.user.pk,  # type: ignore[arg-type] # staff are signed in
            rows,
            CHANGE,
            change_message=f"{capfirst(action.done)}.",
        )

    def _amount(self, count: int) -> str:
        names = self.opts.verbose_name, self.opts.verbose_name_plural
        return f"{count:,} {names[count != 1]}"
