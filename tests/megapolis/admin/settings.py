"""The service's settings, but that a password is checked at once instead of in half a second."""

from megapolis.settings import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
