"""Folders that only one account may enter, and the way to them."""

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from megapolis.embedded.programs import EmbeddedError
from megapolis.logger import logger


def make_private(folder: Path, *, user_id: int, account: pwd.struct_passwd | None) -> None:
    """Make a folder that only one user may enter, as the server asks for no password.

    It is given to `account`, if there is one. A folder that exists must belong to the user of this
    process or to `user_id`. Somebody else may have put a folder with their
    own server, or a link, in its place.
    """
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    with _opened(folder) as opened:
        if os.fstat(opened).st_uid not in {os.geteuid(), user_id}:
            raise EmbeddedError(f"{folder} belongs to somebody else.")
        os.fchmod(opened, 0o700)
        if account:
            os.fchown(opened, account.pw_uid, account.pw_gid)
    if account:
        let_pass(folder)


def let_pass(path: Path) -> None:
    """Let every account pass through the folders above `path` (without listing them)."""
    for folder in path.resolve().parents:
        mode = folder.stat().st_mode
        if not mode & 0o001:
            logger.warning("{} is made passable for the embedded PostgreSQL.", folder)
            folder.chmod(mode | 0o001)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """Have a folder open, which is no link, so that nobody exchanges it meanwhile."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        raise EmbeddedError(f"{folder} belongs to somebody else.") from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)
