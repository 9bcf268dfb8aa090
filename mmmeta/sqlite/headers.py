"""Looking at the first bytes of a database without disturbing SQLite.

SQLite itself reads a file that was cut within a page as if nothing were missing, and opening a file in WAL mode makes
files beside it; so the header is looked at first. But POSIX drops all locks that a process holds on a file as soon as it
closes any descriptor of it: looking while a connection of this process writes would let another process write as well.
Hence the register of the files that this process has connections to, which are not looked at again.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mmmeta.layout import open_plain

Identity = tuple[int, int]
"""Device and inode of a file."""

FileStamp = tuple[int, int, int]
"""Size, time of the last write and of the last change of a file."""

HEADER_BYTES = 100
"""Length of a header: https://www.sqlite.org/fileformat.html, 1.3."""

_MAGIC = b"SQLite format 3\x00"
_WAL = 2


class InUse:
    """Which files this process has SQLite connections to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connections: Counter[Identity] = Counter()

    def renew(self) -> None:
        """In the child of a fork: another thread may have held the lock, and none is left to let go of it."""
        self._lock = threading.Lock()

    def enter(self, identity: Identity) -> None:
        """A connection to the file is about to be made, or was made."""
        with self._lock:
            self._connections[identity] += 1

    def leave(self, identity: Identity) -> None:
        """A connection to the file was closed."""
        with self._lock:
            self._connections[identity] -= 1
            if self._connections[identity] <= 0:
                del self._connections[identity]

    @contextmanager
    def peek(self, path: Path) -> Iterator[bytes | None]:
        """The first 100 bytes; None where a connection is open. No connection begins while the block runs.

        Raises:
            OSError: the file cannot be read.
        """
        with self._lock:
            status = path.stat()
            if (status.st_dev, status.st_ino) in self._connections:
                yield None
                return
            with os.fdopen(open_plain(path), "rb") as file:
                yield file.read(HEADER_BYTES)


IN_USE = InUse()
os.register_at_fork(after_in_child=IN_USE.renew)


def stamp_of(path: Path) -> FileStamp | None:
    """What changes when somebody writes into a file; None where it cannot be told."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


@dataclass(frozen=True)
class Extent:
    """How much of a database file is there.

    Attributes:
        is_sqlite: it begins as SQLite's files do, as far as it goes.
        size: bytes that are there.
        expected: bytes that have to be there; 0 where the header does not tell.
    """

    is_sqlite: bool
    size: int
    expected: int


def extent_of(path: Path) -> Extent | None:
    """How much of a database file is there; None where this process has a connection to it, which knows better.

    Raises:
        OSError: the file cannot be read.
    """
    with IN_USE.peek(path) as header:
        return None if header is None else extent_by(header, path)


def extent_by(header: bytes, path: Path) -> Extent:
    """The same by the header, which was read already: less than its length of a file that is shorter."""
    size, ours = path.stat().st_size, is_sqlite(header)
    if len(header) < HEADER_BYTES:
        return Extent(ours, size, HEADER_BYTES)
    # The page count holds only where the file was last changed by a program that keeps it.
    if header[24:28] != header[92:96]:
        return Extent(ours, size, 0)
    page_size = int.from_bytes(header[16:18], "big")
    return Extent(ours, size, (65_536 if page_size == 1 else page_size) * int.from_bytes(header[28:32], "big"))


def is_sqlite(header: bytes) -> bool:
    """Whether a file begins as SQLite's do, as far as it goes."""
    return header.startswith(_MAGIC[: len(header)])


def is_wal(header: bytes) -> bool:
    """Whether another program has put the database into WAL mode."""
    return _WAL in (header[18], header[19])
