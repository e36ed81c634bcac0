"""The project as a Django app, and which apps are the project's own."""

from pathlib import Path

from django.apps import AppConfig, apps
from django.contrib.admin import apps as admin_apps
from django.db import Error as DatabaseError
from django.db.models.signals import post_migrate

from megapolis.environment import BASE_DIR


class MegapolisConfig(AppConfig):
    """Commands, checks and what every feature stands on."""

    name = "megapolis"

    def ready(self) -> None:
        """Register the system checks, the errors of the database, and what follows `migrate`."""
        from megapolis.database.errors import translated  # noqa: PLC0415 - see above
        from megapolis.database.exposure.checks import close_after_migrate  # noqa: PLC0415 - see above
        from megapolis.errors.exception_handler import TRANSLATORS  # noqa: PLC0415 - see above
        from megapolis.http import checks  # noqa: F401, PLC0415 - needs the apps

        TRANSLATORS[DatabaseError] = translated

        # The signal is sent for each app that has models; one of them is enough.
        post_migrate.connect(close_after_migrate, sender=apps.get_app_config("contenttypes"))


class StaffSiteConfig(admin_apps.AdminConfig):
    """Django's admin, with a site of our own."""

    default = False
    default_site = "megapolis.admin.site.StaffSite"


def own_apps() -> list[AppConfig]:
    """Return the apps that live in this repository."""
    return [config for config in apps.get_app_configs() if Path(config.path).parent == BASE_DIR]
