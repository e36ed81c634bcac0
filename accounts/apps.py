from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Users, their API sessions, and the tokens that stand for them."""

    name = "accounts"
