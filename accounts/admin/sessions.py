"""The admin pages of API sessions."""

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin import ActionLocation
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from accounts.admin.rights import may_manage
from accounts.models import ApiSession, User, normalize_email
from accounts.visibility import is_email_shown
from megapolis.admin import Confirmation, StaffAdmin

if TYPE_CHECKING:
    Inline = admin.TabularInline[ApiSession, User]
    InlineFormSet = BaseInlineFormSet[ApiSession, User, Any]
else:
    Inline, InlineFormSet = admin.TabularInline, BaseInlineFormSet

SHOWN = 20
EVERYWHERE = (ActionLocation.CHANGE_LIST, ActionLocation.CHANGE_FORM)

END = Confirmation(
    verb="End",
    done="ended",
    consequence="Their tokens are rejected from the next request on, and the Supabase sessions "
    "behind them get no new ones: the user has to sign in again.",
    dangerous=True,
)


def end(sessions: QuerySet[ApiSession]) -> None:
    """End the sessions that have not ended yet."""
    sessions.filter(revoked_at=None).update(revoked_at=Now())


def state_of(session: ApiSession) -> str:
    """Return whether the session's token is accepted, in a word. A form may name none."""
    if session.pk is None:
        return ""
    if session.revoked_at:
        return "ended"
    return "active" if session.expires_at > timezone.now() else "expired"


class StateFilter(admin.SimpleListFilter):
    """Filters sessions by state."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(state, state.capitalize()) for state in ("active", "ended", "expired")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "active":
            return queryset.filter(revoked_at=None, expires_at__gt=Now())
        if self.value() == "expired":
            return queryset.filter(revoked_at=None, expires_at__lte=Now())
        return queryset.filter(revoked_at__isnull=False) if self.value() == "ended" else queryset


class ReadOnly:
    """Nothing is added, changed or deleted by hand."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(ApiSession)
class ApiSessionAdmin(ReadOnly, StaffAdmin):
    """Sessions can be viewed and ended."""

    list_display = ("__str__", "user", "state", "created_at", "last_seen_at", "expires_at")
    list_select_related = ("user",)
    list_filter = (StateFilter,)
    sortable_by = ()
    search_fields = ("user__email", "supabase_session_id")
    search_help_text = "The beginning of a user's email, or a whole Supabase id of a user."
    actions = ("end_selected",)
    fields = (
        *("user", "state", "created_at", "last_seen_at", "expires_at", "revoked_at"),
        "supabase_session_id",
    )

    @admin.display(description="state")
    def state(self, session: ApiSession) -> str:
        """Whether its token is accepted."""
        return state_of(session)

    def has_end_permission(self, request: HttpRequest) -> bool:
        """Return whether the signed-in user may end sessions."""
        return request.user.has_perm("accounts.change_apisession")

    def may_act_on(self, request: HttpRequest, row: Any) -> bool:
        return self.has_end_permission(request) and may_manage(request, row.user)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Look up the users first: the sessions of a user are indexed."""
        return queryset.filter(user__in=find_users(User.objects.all(), search_term)), False

    @admin.action(description="End sessions", permissions=["end"], location=EVERYWHERE)
    def end_selected(
        self, request: HttpRequest, queryset: QuerySet[ApiSession]
    ) -> HttpResponse | None:
        """Sign clients out."""
        return self.confirm(request, queryset, action=END, apply=end)


class NewestSessions(InlineFormSet):
    """The newest sessions of a user, who may have any number."""

    def get_queryset(self) -> QuerySet[ApiSession]:
        """Return SHOWN of them."""
        if not hasattr(self, "_newest"):
            self._newest = super().get_queryset().order_by("-id")[:SHOWN]
        return self._newest


class SessionInline(ReadOnly, Inline):
    """A user's sessions, each with a link to its page, where it can be ended."""

    model = ApiSession
    formset = NewestSessions
    verbose_name_plural = f"Newest API sessions, at most {SHOWN}"
    fields = readonly_fields = ("state", "created_at", "last_seen_at", "expires_at")
    show_change_link = True
    extra = 0

    @admin.display(description="state")
    def state(self, session: ApiSession) -> str:
        """Whether its token is accepted."""
        return state_of(session)


def find_users(users: QuerySet[User], term: str) -> QuerySet[User]:
    """Search by what an index finds: the beginning of an email, or a whole Supabase id.

    Staff who may not see emails cannot search by them: a match would reveal the email.
    """
    try:
        return users.filter(supabase_id=UUID(term.strip()))
    except ValueError:
        prefix = normalize_email(term)
    if not prefix:
        return users
    return users.filter(email__startswith=prefix) if is_email_shown() else users.none()
