"""Another name of `migrate`."""

from megapolis.management.commands.migrate import Command

__all__ = ["Command"]
