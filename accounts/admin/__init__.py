"""Users, their groups and sessions, and the sign-in form, for staff."""

from django.contrib import admin

from accounts.admin.forms import SignInForm
from accounts.admin.groups import GroupAdmin
from accounts.admin.sessions import ApiSessionAdmin
from accounts.admin.users import UserAdmin

__all__ = ["ApiSessionAdmin", "GroupAdmin", "UserAdmin"]

admin.site.login_form = SignInForm
