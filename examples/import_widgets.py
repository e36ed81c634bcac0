"""Create widgets for a user, all of them or none.

python -m examples.import_widgets EMAIL NAME [NAME …]
"""

import asyncio
import os
import sys

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "megapolis.settings")
django.setup()

from accounts.models import User, normalize_email
from megapolis import database
from megapolis.logger import logger
from widgets import statements


async def import_widgets(*, owner_id: int, names: list[str]) -> None:
    """Create the widgets in one transaction."""
    async with database.connected(), database.transaction():
        for name in names:
            widget = await statements.create_widget.one(owner_id=owner_id, name=name)
            logger.info("created widget {} {}", widget.id, widget.name)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("Usage: python -m examples.import_widgets EMAIL NAME [NAME …]")
    email, *names = sys.argv[1:]
    owner = User.objects.get(email=normalize_email(email))
    asyncio.run(import_widgets(owner_id=owner.pk, names=names))
