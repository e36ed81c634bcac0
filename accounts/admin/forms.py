"""Forms for staff to sign in, and to add and change users."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.forms import AdminUserCreationForm, UsernameField
from django.core.exceptions import ValidationError

from accounts.admin import sign_in_limit
from accounts.models import EMAIL_MAX_LENGTH, User, normalize_email
from megapolis.admin.site import TOO_MANY_ATTEMPTS

if TYPE_CHECKING:
    BaseAddForm = AdminUserCreationForm[User]
    UserModelForm = forms.ModelForm[User]
else:
    BaseAddForm = AdminUserCreationForm
    UserModelForm = forms.ModelForm


class EmailField(forms.EmailField):
    """An address in the one spelling in which it is stored; empty is None."""

    def to_python(self, value: Any) -> str | None:
        """Normalise, before the validators look."""
        return normalize_email(super().to_python(value))


class UserAddForm(BaseAddForm):
    """A new user, who may be given a password to sign in to the admin."""

    email = EmailField(max_length=EMAIL_MAX_LENGTH)

    class Meta:
        model = User
        fields = ("email",)


class UserWithoutPasswordForm(UserModelForm):
    """A new user, as staff add them: only superusers set passwords."""

    email = EmailField(max_length=EMAIL_MAX_LENGTH)

    class Meta:
        model = User
        fields = ("email",)


class SignInForm(AdminAuthenticationForm):
    """Signs staff in. It never says what is wrong, and attempts are limited."""

    username = UsernameField(
        max_length=EMAIL_MAX_LENGTH, widget=forms.TextInput(attrs={"autofocus": True})
    )
    error_messages = {
        **AdminAuthenticationForm.error_messages,
        "invalid_login": "Please enter the correct email and password for a staff account.",
    }

    def clean(self) -> dict[str, Any]:
        """Check email and password, unless there were too many attempts."""
        email, password = self.cleaned_data.get("username"), self.cleaned_data.get("password")
        if not email or not password:
            return super().clean()
        address = self.request.META.get("REMOTE_ADDR", "") if self.request else ""
        if not sign_in_limit.begin_attempt(address=address, email=email):
            raise ValidationError(
                "Too many attempts. Please wait a quarter of an hour.",
                code=TOO_MANY_ATTEMPTS,
                params={"retry_after": int(sign_in_limit.WINDOW.total_seconds())},
            )
        cleaned = super().clean()
        sign_in_limit.forget_attempts(address=address, email=email)
        return cleaned
