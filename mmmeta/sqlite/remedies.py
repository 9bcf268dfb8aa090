"""What to do where SQLite cannot open, read or write a file; it seldom says why."""

from __future__ import annotations

import os
from pathlib import Path

from mmmeta.errors import remedy_of

PERMISSIONS = "check the permissions of the file and its folder"
DISK = "look into the system's log, see whether there is room on the disk, and try again"
OPENING = "check the permissions of its folder, whether there is room, and the limit of open files (`ulimit -n`)"


def may_use(path: Path, *, write: bool) -> bool:
    """Whether permissions let this process read the file, or write it and beside it."""
    if not write:
        return os.access(path, os.R_OK)
    there = os.access(path, os.R_OK | os.W_OK) or not os.path.lexists(path)
    return there and os.access(path.parent, os.W_OK)


def why_not_opened(path: Path, what: str, *, write: bool) -> tuple[str, str]:
    """What happened and what to do, as far as that can be found out. The file itself is not opened for it: closing it again
    would drop this process's locks.

    Args:
        what: happened, in words.
    """
    try:
        os.close(os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except OSError as error:
        return f"{what} ({error.strerror})", remedy_of(error)
    return what, OPENING if may_use(path, write=write) else PERMISSIONS
