from django.apps import AppConfig


class WidgetsConfig(AppConfig):
    """The first feature, and the model for every other."""

    name = "widgets"
