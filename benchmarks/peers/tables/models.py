# ruff: noqa: DJ001, DJ008 - as the tables are, and never shown.
"""The service's tables as plain Django models. The service's own migrations create them."""

from django.db import models
from django.db.models.functions import Now


class User(models.Model):
    """The columns that a request needs of a user."""

    email = models.EmailField(max_length=254, null=True)
    is_active = models.BooleanField()
    is_staff = models.BooleanField()

    class Meta:
        managed = False
        db_table = "accounts_user"


class ApiSession(models.Model):
    """The columns that a request needs of a session."""

    key = models.UUIDField()
    user = models.ForeignKey(User, models.CASCADE)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        managed = False
        db_table = "accounts_apisession"


class Widget(models.Model):
    """The whole widget."""

    name = models.CharField(max_length=255, unique=True)
    owner = models.ForeignKey(User, models.CASCADE)
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        managed = False
        db_table = "widgets_widget"
