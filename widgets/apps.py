from django.apps import AppConfig


class WidgetsConfig(AppConfig):
    """Named things that somebody owns."""

    name = "widgets"
