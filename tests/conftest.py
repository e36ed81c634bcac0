"""What every test gets. ENVIRONMENT is `test` whatever the shell or a `.env` says."""

import os

import django

os.environ["ENVIRONMENT"] = "test"
os.environ["DJANGO_SETTINGS_MODULE"] = "megapolis.settings"


def pytest_configure() -> None:
    django.setup()
