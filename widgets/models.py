"""The widget, and the indexes that keep each of its lists cheap."""

from django.conf import settings
from django.db import models
from django.db.models.functions import Lower, Now

NAME_MAX_LENGTH = 255
NAME_COLLATION = "pg_c_utf8"
"""Orders by code point and folds the case of every script, on any server (PostgreSQL 17 and newer).

The order by name and the search by prefix rest on it.
"""
LAST_NAME = "\U0010ffff" * NAME_MAX_LENGTH
"""Behind a prefix, it sorts behind whatever else follows the prefix."""


class Widget(models.Model):
    """A named thing that somebody owns. Names are unique, whoever owns them."""

    name = models.CharField(max_length=NAME_MAX_LENGTH, db_collation=NAME_COLLATION)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="widgets", db_index=False
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(auto_now=True, db_default=Now())

    class Meta:
        # Not `unique=True`, which would add a second index for LIKE.
        constraints = (models.UniqueConstraint(fields=("name",), name="widget_name_unique"),)
        indexes = (
            models.Index(Lower("name"), "id", name="widget_name"),
            models.Index("owner", "id", name="widget_owner"),
            models.Index("owner", Lower("name"), "id", name="widget_owner_name"),
        )

    def __str__(self) -> str:
        return self.name
