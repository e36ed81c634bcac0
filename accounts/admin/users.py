"""The admin pages of users."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin import ActionLocation
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.core.exceptions import PermissionDenied
from django.db import models
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html_join

from accounts.admin.forms import EmailField, UserAddForm, UserWithoutPasswordForm
from accounts.admin.rights import is_superuser, may_manage
from accounts.admin.sessions import EVERYWHERE, SessionInline, end, find_users
from accounts.models import PROMOTIONS, ApiSession, User
from megapolis.admin import LISTED, Confirmation, StaffAdmin

if TYPE_CHECKING:
    BaseUserAdmin = DjangoUserAdmin[User]
else:
    BaseUserAdmin = DjangoUserAdmin

RIGHTS = ("is_staff", "is_superuser", "groups", "user_permissions")
NO_SIGN_IN = "To sign in here, this user needs a new password. Any earlier one was taken away."
DATES = ("created_at", "updated_at", "last_seen_at", "last_login")

DEACTIVATE = Confirmation(
    verb="Deactivate",
    done="deactivated",
    consequence="They are locked out of the API and of the admin from the next request on. "
    "What is theirs stays, and they can be reactivated.",
    dangerous=True,
)
REACTIVATE = Confirmation(
    verb="Reactivate",
    done="reactivated",
    consequence="They can sign in again, and those of their sessions that have neither expired "
    "nor been ended are good again.",
)
END_ALL_SESSIONS = Confirmation(
    verb="End all sessions of",
    done="all sessions ended",
    consequence="Their tokens are rejected from the next request on. They can sign in again.",
    dangerous=True,
)


@admin.register(User)
class UserAdmin(StaffAdmin, BaseUserAdmin):
    """Staff manage users. Only superusers manage staff. Nobody manages themselves."""

    glance = "Sign-ups"
    list_display = ("name", "is_active", "is_staff", "created", "last_seen_at")
    list_filter = ("is_active", "is_staff", ("last_seen_at", admin.DateFieldListFilter))
    sortable_by = ("name", "created")
    search_fields = ("email", "supabase_id")
    search_help_text = "The beginning of an email, or a whole Supabase id."
    actions = ("deactivate", "reactivate", "end_all_sessions")
    ordering = ("-id",)
    add_form = UserAddForm
    add_fieldsets = ((None, {"fields": ("email", "usable_password", "password1", "password2")}),)
    fieldsets = (
        (None, {"fields": ("email", "supabase_id", "password", "is_active", "belongings")}),
        ("Dates", {"fields": (DATES[:2], DATES[2:])}),
        ("Rights", {"fields": RIGHTS, "classes": ("collapse",)}),
    )
    readonly_fields = ("supabase_id", "belongings", *DATES)
    formfield_overrides = {models.EmailField: {"form_class": EmailField}}

    @admin.display(description="user", ordering="email")
    def name(self, user: User) -> str:
        """Return the email, or `user <id>` if there is none."""
        return str(user)

    @admin.display(description="created", ordering="id")
    def created(self, user: User) -> datetime:
        """Sorted by id, which is the order of creation and indexed."""
        return user.created_at

    @admin.display(description="see also")
    def belongings(self, user: User) -> str:
        """Lead to the lists of what refers to the user."""
        related = [field for field in User._meta.related_objects if self._is_shown(field)]
        links = [(_list_url(field), field.field.name, user.pk, _name(field)) for field in related]
        return format_html_join(", ", '<a href="{}?{}__id__exact={}">{}</a>', links)

    def get_inlines(self, request: HttpRequest, obj: User | None = None) -> tuple[Any, ...]:
        """A user who is being added has no sessions."""
        return (SessionInline,) if obj else ()

    def get_form(  # type: ignore[override] # `change` is one of them
        self, request: HttpRequest, obj: User | None = None, **kwargs: Any
    ) -> Any:
        """Superusers may give a new user a password."""
        if obj is None and not is_superuser(request):
            kwargs["form"] = UserWithoutPasswordForm
        return super().get_form(request, obj, **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        """Show password fields to superusers only."""
        fieldsets = super().get_fieldsets(request, obj)
        if is_superuser(request):
            return fieldsets
        return [
            (name, {**options, "fields": [f for f in options["fields"] if "password" not in f]})
            for name, options in fieldsets
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        """Only superusers set rights. The email of a Supabase user comes from Supabase."""
        rights = () if is_superuser(request) else RIGHTS
        email = ("email",) if obj and obj.supabase_id else ()
        return (*self.readonly_fields, *rights, *email)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_change_permission(request, obj) and may_manage(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        allowed = super().has_delete_permission(request, obj) and may_manage(request, obj)
        return allowed and obj != request.user

    def user_change_password(
        self,
        request: HttpRequest,
        id: str,  # noqa: A002 - Django's name
        form_url: str = "",
    ) -> HttpResponse:
        """Only superusers may: with the password one can sign in as the user."""
        if not is_superuser(request):
            raise PermissionDenied
        return super().user_change_password(request, id, form_url)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:  # noqa: FBT001 - Django's signature
        """Warn when a promotion has removed the password."""
        super().save_model(request, obj, form, change)
        changed = change and obj.is_staff and PROMOTIONS.intersection(form.changed_data)
        if changed and not obj.has_usable_password():
            messages.warning(request, NO_SIGN_IN)

    def may_act_on(self, request: HttpRequest, row: User) -> bool:
        return row != request.user and super().may_act_on(request, row)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[User], search_term: str
    ) -> tuple[QuerySet[User], bool]:
        return find_users(queryset, search_term), False

    def get_deleted_objects(
        self, objs: Sequence[User] | QuerySet[User], request: HttpRequest
    ) -> tuple[list[str], dict[str, Any], set[str], list[str]]:
        """Count the related rows, not load them. Users with log entries cannot be deleted."""
        (user,) = objs
        counts: dict[str, Any] = {"users": 1}
        lacking, protected = set(), []
        for field in User._meta.related_objects:
            model, opts = field.related_model, field.related_model._meta
            rows = model._default_manager.filter(**{field.field.name: user})
            found = rows[: LISTED + 1].count()
            amount = f"{found:,}" if found <= LISTED else f"more than {LISTED:,}"
            if found and model is LogEntry:
                protected.append(f"{amount} log entries. Deactivate the user instead.")
            elif found:
                counts[_name(field)] = amount
                if not request.user.has_perm(f"{opts.app_label}.delete_{opts.model_name}"):
                    lacking.add(_name(field))
        return [f"User: {user}"], counts, lacking, protected

    def get_actions(
        self, request: HttpRequest, action_location: ActionLocation = ActionLocation.CHANGE_LIST
    ) -> dict[str, Any]:
        """Users are deleted one by one."""
        actions = super().get_actions(request, action_location)
        return {name: action for name, action in actions.items() if name != "delete_selected"}

    @admin.action(description="Deactivate", permissions=["change"], location=EVERYWHERE)
    def deactivate(self, request: HttpRequest, queryset: QuerySet[User]) -> HttpResponse | None:
        """Lock users out."""
        return self.confirm(
            request, queryset, action=DEACTIVATE, apply=lambda users: _set_active(users, to=False)
        )

    @admin.action(description="Reactivate", permissions=["change"], location=EVERYWHERE)
    def reactivate(self, request: HttpRequest, queryset: QuerySet[User]) -> HttpResponse | None:
        """Let users in again."""
        return self.confirm(
            request, queryset, action=REACTIVATE, apply=lambda users: _set_active(users, to=True)
        )

    @admin.action(description="End all sessions", permissions=["change"], location=EVERYWHERE)
    def end_all_sessions(
        self, request: HttpRequest, queryset: QuerySet[User]
    ) -> HttpResponse | None:
        """Make users sign in again."""
        return self.confirm(
            request,
            queryset,
            action=END_ALL_SESSIONS,
            apply=lambda users: end(ApiSession.objects.filter(user__in=users)),
        )

    def _is_shown(self, field: Any) -> bool:
        return self.admin_site.is_registered(field.related_model)


def _set_active(users: QuerySet[User], *, to: bool) -> None:
    users.update(is_active=to, updated_at=Now())


def _list_url(field: Any) -> str:
    opts = field.related_model._meta
    return reverse(f"admin:{opts.app_label}_{opts.model_name}_changelist")


def _name(field: Any) -> str:
    return str(field.related_model._meta.verbose_name_plural)
