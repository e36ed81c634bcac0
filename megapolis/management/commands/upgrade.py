"""Another name of `migrate`."""

from django.core.management.commands.migrate import Command

__all__ = ["Command"]
