"""The shim of ``shim.c``: compiled here, preloaded into the process that tries the points, and spoken to by ctypes."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).with_name("shim.c")

KINDS = ("open", "create", "read", "write", "sync", "rename", "unlink", "truncate", "mkdir")
"""Of calls, in the order of the enum in ``shim.c``; rmdir counts as unlink."""

HOWS = ("off", "count", "kill before", "kill after", "torn", "once", "lasting")
"""What is done, in the order of the enum in ``shim.c``. ``torn``: half of a write is done, and the process killed."""

ERRORS: dict[int, tuple[str, ...]] = {
    errno.ENOSPC: ("create", "write", "sync", "rename", "truncate", "mkdir"),
    errno.EIO: KINDS,
    errno.EACCES: ("open", "create", "rename", "unlink", "mkdir"),
    errno.EMFILE: ("open", "create"),
}
"""Error → the calls that give it in life. A lasting one is given for all of these from then on."""


class NoCompiler(Exception):
    """The shim cannot be compiled, and so nothing can be tried."""


def build(folder: Path) -> Path:
    """Compile the shim into a folder.

    Raises:
        NoCompiler: says what is missing.
    """
    if not sys.platform.startswith("linux"):
        raise NoCompiler(f"faults are injected by LD_PRELOAD into a Linux process; this is {sys.platform}")
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise NoCompiler("a C compiler is needed here and is not installed (Debian, Ubuntu: apt install gcc libc6-dev)")
    library = folder / "shim.so"
    command = [compiler, "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(library), str(SOURCE)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise NoCompiler(f"{' '.join(command)}\n{result.stderr}")
    return library


def is_preloaded() -> bool:
    """Whether this process has the shim."""
    return hasattr(ctypes.CDLL(None), "faults_arm")


def preloaded(library: Path) -> dict[str, str]:
    """The environment of a process that shall have the shim."""
    return {**os.environ, "LD_PRELOAD": str(library)}


class Shim:
    """The shim of this process."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None)
        self._library.faults_count.restype = ctypes.c_long
        self._library.faults_happened.restype = ctypes.c_long
        self._library.faults_where.restype = ctypes.c_char_p

    def arm(self, folder: Path, how: str, at: int = 0, error: int = 0, log: int = -1) -> None:
        """From now on count the calls below a folder, and do this at the ``at``-th, counted from 1.

        Args:
            error: what is given, where ``how`` is ``once`` or ``lasting``.
            log: a descriptor that gets a line for each call, its kind and its path.
        """
        kinds = sum(1 << KINDS.index(kind) for kind in ERRORS.get(error, ()))
        self._library.faults_arm(os.fsencode(folder), HOWS.index(how), ctypes.c_long(at), error, kinds, log)

    def disarm(self) -> None:
        """Count no more."""
        self._library.faults_disarm()

    @property
    def happened(self) -> int:
        """How many calls were given the error."""
        return int(self._library.faults_happened())

    @property
    def where(self) -> str:
        """The path of the first of them."""
        return os.fsdecode(self._library.faults_where())
