"""Staff at the API: their permissions on rows of other users, and the log of their changes.

Both are Django's: its permissions, and the log entries that `/admin/` lists.
"""

from contextlib import AbstractAsyncContextManager, nullcontext
from functools import cache

from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.auth import get_permission_codename
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.db.models import BigIntegerField, Exists, Model, OuterRef, Q, Subquery
from django.db.models.functions import Now
from pydantic import BaseModel

from accounts.models import User
from accounts.schemas import CurrentUser
from megapolis import database
from megapolis.database import Insert, Param

OBJECT_REPR_MAX_LENGTH = 200
"""The length of the column. Django cuts its own entries to it too."""


class WrittenLogEntry(BaseModel):
    """A log entry that was written."""

    id: int


def holds_permission(verb: str, model: type[Model]) -> Q:
    """Return, for the filter of a statement, whether `user_id` is staff who may `verb` the model.

    It asks what `User.has_perm` asks: the user's own permissions, those of groups, superusers.
    """
    permission = Permission.objects.filter(
        codename=get_permission_codename(verb, model._meta),
        content_type__app_label=model._meta.app_label,
    )
    held = (
        Q(is_superuser=True)
        | Q(Exists(permission.filter(user=OuterRef("pk"))))
        | Q(Exists(permission.filter(group__user=OuterRef("pk"))))
    )
    user_id = Param("user_id", BigIntegerField())
    return Q(Exists(User.objects.filter(held, pk=user_id, is_active=True, is_staff=True)))


def transaction_of_staff(user: CurrentUser) -> AbstractAsyncContextManager[None]:
    """Return a transaction for staff, in which a change and its log entry are written.

    Other users change only their own rows, with one statement and without a transaction.
    """
    return database.transaction() if user.is_staff else nullcontext()


async def log_change(
    *, user: CurrentUser, model: type[Model], object_id: int, name: str, fields: list[str]
) -> None:
    """Write a log entry that says which fields of a row the user changed."""
    message = f"Changed {', '.join(fields)} through the API."
    await _log_entry(model, CHANGE).one(
        user_id=user.id, object_id=str(object_id), name=_cut(name), message=message
    )


async def log_deletion(*, user: CurrentUser, model: type[Model], object_id: int, name: str) -> None:
    """Write a log entry that says that the user deleted a row."""
    await _log_entry(model, DELETION).one(
        user_id=user.id,
        object_id=str(object_id),
        name=_cut(name),
        message="Deleted through the API.",
    )


def _cut(name: str) -> str:
    return name[:OBJECT_REPR_MAX_LENGTH]


@cache
def _log_entry(model: type[Model], action_flag: int) -> Insert[WrittenLogEntry]:
    opts = model._meta
    kinds = ContentType.objects.filter(app_label=opts.app_label, model=opts.model_name)
    return Insert(
        LogEntry,
        {
            "action_time": Now(),
            "user": Param("user_id"),
            "content_type": Subquery(kinds.values("pk")),
            "object_id": Param("object_id"),
            "object_repr": Param("name"),
            "action_flag": action_flag,
            "change_message": Param("message"),
        },
        row=WrittenLogEntry,
    )
