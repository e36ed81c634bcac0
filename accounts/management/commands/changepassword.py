"""Django's `changepassword`, for local accounts only."""

from typing import Any

from django.contrib.auth.management.commands import changepassword

from accounts.management.users import reject_supabase_user
from accounts.models import User, normalize_email


class Command(changepassword.Command):
    """Change the password of a local account. The email of a Supabase user finds nobody."""

    def handle(self, *args: Any, **options: Any) -> str | None:
        """Reject a Supabase user, whose email may be unverified."""
        email = normalize_email(options["username"])
        user = User.objects.using(options["database"]).filter(email=email).first()
        if email and user:
            reject_supabase_user(user, instead="set the password in the admin")
        options["username"] = email
        return super().handle(*args, **options)
