"""Users and the sessions in which they use the API.

Values that Django would compute in Python are database defaults, because statements
(`megapolis.database.statements`) insert rows without going through `Model.save()`.
"""

import unicodedata
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import models
from django.db.models.functions import UUID4, Now

from accounts.visibility import is_email_shown

EMAIL_MAX_LENGTH = 254
"""The longest address that SMTP can carry (RFC 5321, section 4.5.3.1.3)."""

PROMOTIONS = frozenset({"is_staff", "is_superuser"})
"""The fields that let a user into the admin, and that let them do everything."""


def normalize_email(email: str | None) -> str | None:
    """Return the one spelling under which an address is stored, or None for an empty one.

    Addresses that differ only in case or Unicode form are the same. Text that is too long for an
    address is returned unchanged, and validation rejects it.
    """
    email = (email or "").strip()
    if len(email) > EMAIL_MAX_LENGTH:
        return email
    return unicodedata.normalize("NFKC", email).strip().lower() or None


def parse_email(typed: str) -> str:
    """Return the normalised email. Raises ValueError with the reason if it is not one."""
    email = normalize_email(typed) or ""
    try:
        validate_email(email)
    except ValidationError:
        raise ValueError("EMAIL is not an email address.") from None
    if len(email) > EMAIL_MAX_LENGTH:
        raise ValueError(f"EMAIL has more than {EMAIL_MAX_LENGTH} characters.")
    return email


class UserManager(BaseUserManager["User"]):
    """Creates users from Python: `createsuperuser`, the admin, commands and tests."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """Save and return a user. Without a password none can be used to sign in to the admin."""
        user = self.model(email=normalize_email(email), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """Save and return a user who may do everything."""
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)

    def get_by_natural_key(self, username: str | None) -> "User":
        """Find by email in any spelling, as the admin's sign-in form does."""
        return self.get(email=normalize_email(username))


class User(AbstractBaseUser, PermissionsMixin):
    """A person. The identity is `supabase_id`; the email is only an attribute of it.

    Users who came through Supabase have no usable password. Staff who sign in to the admin have
    one, and need no Supabase account.
    """

    supabase_id = models.UUIDField(
        null=True, blank=True, unique=True, help_text="The `sub` claim of the Supabase token."
    )
    email = models.EmailField(max_length=EMAIL_MAX_LENGTH, null=True, blank=True, unique=True)
    is_active = models.BooleanField(
        default=True,
        db_default=True,
        help_text="Clear it to lock the user out; every token stops working at once.",
    )
    is_staff = models.BooleanField(
        default=False, db_default=False, help_text="May sign in to the admin."
    )
    is_superuser = models.BooleanField(
        "superuser status",
        default=False,
        db_default=False,
        help_text="Has every permission without being given them one by one.",
    )
    password = models.CharField(max_length=128, db_default="!")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(auto_now=True, db_default=Now())
    last_seen_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="The last exchange of a Supabase token."
    )

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"

    class Meta:
        indexes = (models.Index("created_at", name="user_created"),)

    def __str__(self) -> str:
        return (self.email if is_email_shown(self) else None) or f"user {self.pk}"

    def get_username(self) -> str:
        """Return what a page of the admin calls the user."""
        return super().get_username() if is_email_shown(self) else str(self)

    def save(self, **options: Any) -> None:
        """Save the user. A user who becomes staff or a superuser loses their earlier password.

        Others may know it, and its admin sessions end with it. A password set in the same save is
        kept. `QuerySet.update()` does not call this method: do not promote users with it.
        """
        fields = options.get("update_fields")
        if self.pk and (fields is None or PROMOTIONS.intersection(fields)):
            before = User.objects.filter(pk=self.pk).first()
            if before and self._is_promoted(before) and self.password == before.password:
                self.set_unusable_password()
                options["update_fields"] = fields and {*fields, "password"}
        super().save(**options)

    def _is_promoted(self, before: "User") -> bool:
        return any(getattr(self, right) and not getattr(before, right) for right in PROMOTIONS)

    @classmethod
    def normalize_username(cls, username: Any) -> Any:
        """Return the one spelling of the email, in which Django's `clean` stores it."""
        return normalize_email(username)


class ApiSession(models.Model):
    """A signed-in client. Its token is accepted as long as this row says so.

    There is one row per Supabase session, however often its client exchanges; a row without
    `supabase_session_id` was made by a command.
    """

    user = models.ForeignKey(User, models.CASCADE, related_name="api_sessions", db_index=False)
    key = models.UUIDField(
        db_default=UUID4(),
        editable=False,
        help_text="What the token names. No other row ever has it.",
    )
    supabase_session_id = models.UUIDField(null=True, blank=True)
    aal = models.SmallIntegerField(
        "assurance level",
        db_default=1,
        editable=False,
        help_text="2 if the last Supabase token exchanged had a second factor, otherwise 1.",
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    last_seen_at = models.DateTimeField(
        db_default=Now(), editable=False, help_text="The last exchange."
    )
    expires_at = models.DateTimeField(db_index=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "API session"
        constraints = (
            models.UniqueConstraint(fields=("key",), name="session_key"),
            models.UniqueConstraint(fields=("user", "supabase_session_id"), name="session_unique"),
        )

    def __str__(self) -> str:
        return f"session {self.pk}"


class SignInAttempt(models.Model):
    """A failed sign-in at the admin, kept for a while (`accounts.admin.sign_in_limit`)."""

    client = models.CharField(max_length=64)
    account = models.CharField(max_length=64, help_text="A keyed hash of what was typed as email.")
    attempted_at = models.DateTimeField(db_default=Now(), db_index=True)

    class Meta:
        indexes = (models.Index("client", "account", name="attempt_client"),)

    def __str__(self) -> str:
        return f"attempt {self.pk}"
