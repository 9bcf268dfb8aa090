"""Walking the files root, and what generate remembers of it (scan.db).

Both the walk and scan.db go through the tree in one order, that of the path's bytes with ``/`` replaced by NUL, so that
a single pass compares them without holding either in memory. A file whose size, mtime, ctime and inode are as
remembered is not opened. scan.db belongs to one metadata db at one revision; where that does not fit it is thrown
away, and so it can be deleted at any time.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from mmmeta.errors import MmmetaError, Problem
from mmmeta.layout import METADIR

READ_SIZE = 16_384
"""Bytes a read call asks for; a larger buffer costs an mmap for every small metadata file."""

_RACY = -1
"""Remembered instead of an mtime that is not older than the scan: a later write could leave the same mtime."""

_SKIPPED_FOLDER = os.fsencode(METADIR)

_SCHEMA = """
CREATE TABLE info (name TEXT PRIMARY KEY NOT NULL, value) WITHOUT ROWID;
CREATE TABLE seen (path BLOB PRIMARY KEY NOT NULL, size, mtime, ctime, inode, file TEXT) WITHOUT ROWID;
"""


class Entry(NamedTuple):
    """One regular file of the walk; ``key`` is its path relative to the root with NUL for ``/``."""

    key: bytes
    size: int
    mtime: int
    ctime: int
    inode: int


class Remembered(NamedTuple):
    """One row of scan.db; ``file`` is the unique value, None where the metadata was set aside."""

    key: bytes
    size: int
    mtime: int
    ctime: int
    inode: int
    file: str | None


@dataclass
class Walk:
    """Walks a folder; what could not be looked at is kept in ``problems``.

    Attributes:
        suffix: only files whose name ends so; empty for all files.
        unlistable: keys of the folders whose content is unknown.
    """

    root: Path
    suffix: bytes = b".json"
    problems: list[Problem] = field(default_factory=list)
    unlistable: list[bytes] = field(default_factory=list)

    def __iter__(self) -> Iterator[Entry]:
        return self._folder(os.fsencode(self.root), b"")

    def _folder(self, path: bytes, key: bytes) -> Iterator[Entry]:
        try:
            with os.scandir(path) as listing:
                entries = sorted(listing, key=_name)
        except OSError as error:
            self.unlistable.append(key)
            self._aside(key, f"the folder cannot be listed ({error.strerror}); its files were left as they are")
            return
        prefix = key + b"\0" if key else b""
        for entry in entries:
            name = entry.name
            try:
                if entry.is_dir(follow_symlinks=False):
                    if name != _SKIPPED_FOLDER:
                        yield from self._folder(entry.path, prefix + name)
                    continue
                wanted = name.endswith(self.suffix)
                if not wanted and not entry.is_symlink():
                    continue
                if entry.is_symlink() and entry.is_dir():
                    self._aside(
                        prefix + name, "a link to a folder is not followed; make it the files root or a real folder"
                    )
                    continue
                if wanted:
                    status = entry.stat()
                    if stat.S_ISREG(status.st_mode):
                        yield Entry(
                            prefix + name, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
                        )
                    else:
                        self._aside(prefix + name, "not a regular file")
            except OSError as error:
                self._aside(prefix + name, f"cannot be read ({error.strerror})")

    def _aside(self, key: bytes, reason: str) -> None:
        self.problems.append(Problem(display_path(key) or ".", reason))


def _name(entry: os.DirEntry[bytes]) -> bytes:
    return entry.name


def display_path(key: bytes) -> str:
    """A walk's key as a relative path for people and for ``__source``."""
    return key.replace(b"\0", b"/").decode("utf-8", "backslashreplace")


def real_path(root: Path, key: bytes) -> bytes:
    """A walk's key as a path that can be opened."""
    return os.path.join(os.fsencode(root), key.replace(b"\0", b"/"))


def read_bytes(path: bytes) -> bytes:
    """The content of a small file; raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(handle, READ_SIZE):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(handle)


def sha1_of(path: bytes) -> str:
    """The SHA-1 of a document in hexadecimal; raises OSError."""
    digest = hashlib.sha1(usedforsecurity=False)
    with open(path, "rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def filesystem_now(folder: Path) -> int:
    """The file system's own idea of now in nanoseconds, read off a file made for it."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b".")
        file.flush()
        return os.fstat(file.fileno()).st_mtime_ns


class ScanDb:
    """What generate saw last time; ``compare`` and ``remember`` in one run, then ``commit`` after meta.db's commit."""

    def __init__(self, path: Path, identity: str) -> None:
        """``identity`` names everything but the metadata db that the memory depends on (config, root, mode)."""
        self.path = path
        self._identity = identity
        self._connection = self._open()
        self.unchanged = 0
        self.gone: list[bytes] = []
        self._started = filesystem_now(path.parent)

    def belongs_to(self) -> tuple[str, int, bytes] | None:
        """Metadata db id, revision and digest that this memory was made with; None if there is none to use."""
        info = dict(self._connection.execute("SELECT name, value FROM info").fetchall())
        if info.get("identity") != self._identity:
            return None
        return info.get("metadata_id", ""), info.get("revision", -1), info.get("digest", b"")

    def begin(self) -> None:
        """Start a run; a second generate of the same metadir waits here.

        Raises:
            MmmetaError: another generate did not finish in time.
        """
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise MmmetaError(f"another generate is writing {self.path.parent.parent}: {error}; try again") from error
        self._connection.execute("CREATE TEMP TABLE IF NOT EXISTS fresh AS SELECT * FROM seen WHERE 0")
        self._connection.execute("DELETE FROM temp.fresh")

    def forget(self) -> None:
        """Take everything as new."""
        self._connection.execute("DELETE FROM seen")

    def compare(self, walk: Walk) -> Iterator[tuple[Entry, Remembered | None]]:
        """Yield the walk's files that are new or may have changed, with what is remembered of them.

        Files that are as remembered are counted in ``unchanged``, and those that are gone noted for ``commit``.
        """
        rows = iter(self._connection.execute("SELECT path, size, mtime, ctime, inode, file FROM seen ORDER BY path"))
        remembered = next(rows, None)
        for entry in walk:
            key = entry.key
            while remembered is not None and remembered[0] < key:
                self.gone.append(remembered[0])
                remembered = next(rows, None)
            if remembered is not None and remembered[0] == key:
                if remembered[:5] == entry and remembered[5] is not None:
                    self.unchanged += 1
                else:
                    yield entry, Remembered(*remembered)
                remembered = next(rows, None)
            else:
                yield entry, None
        while remembered is not None:
            self.gone.append(remembered[0])
            remembered = next(rows, None)

    def remember(self, entry: Entry, file: str | None) -> None:
        """Note a file that was read: ``file`` is its unique value, None if it was set aside."""
        racy = max(entry.mtime, entry.ctime) >= self._started
        self._connection.execute(
            "INSERT INTO temp.fresh VALUES (?, ?, ?, ?, ?, ?)",
            (entry.key, entry.size, _RACY if racy else entry.mtime, entry.ctime, entry.inode, file),
        )

    def settle(self, walk: Walk) -> None:
        """Bring the memory up to this run, still uncommitted; what lies in unlistable folders stays remembered."""
        hidden = tuple(key + b"\0" if key else b"" for key in walk.unlistable)
        self._connection.executemany(
            "DELETE FROM seen WHERE path = ?", [(key,) for key in self.gone if not (hidden and key.startswith(hidden))]
        )
        self._connection.execute("INSERT OR REPLACE INTO seen SELECT * FROM temp.fresh")

    def sees(self, key: bytes, file: str) -> bool:
        """Whether the metadata file at ``key`` is there and still is that of ``file``, or cannot be read now."""
        row = self._connection.execute("SELECT file FROM seen WHERE path = ?", (key,)).fetchone()
        return row is not None and row[0] in (None, file)

    def others(self, files: set[str]) -> Iterator[tuple[bytes, str]]:
        """Keys of all remembered metadata files of these files."""
        for key, file in self._connection.execute("SELECT path, file FROM seen WHERE file IS NOT NULL"):
            if file in files:
                yield key, file

    def entry(self, key: bytes) -> Entry | None:
        """The remembered entry at a key."""
        row = self._connection.execute(
            "SELECT path, size, mtime, ctime, inode FROM seen WHERE path = ?", (key,)
        ).fetchone()
        return Entry(*row) if row is not None else None

    def duplicates(self, *, changed: bool) -> int:
        """How many metadata files beyond the first share a unique value; counted again only where something changed."""
        if not changed:
            row = self._connection.execute("SELECT value FROM info WHERE name = 'duplicates'").fetchone()
            if row is not None:
                return int(row[0])
        (count,) = self._connection.execute("SELECT count(file) - count(DISTINCT file) FROM seen").fetchone()
        return int(count)

    def commit(self, metadata_id: str, revision: int, digest: bytes, duplicates: int) -> None:
        """Keep this run's memory as that of the metadata db at this revision."""
        self._connection.executemany(
            "INSERT OR REPLACE INTO info (name, value) VALUES (?, ?)",
            [
                ("identity", self._identity),
                ("metadata_id", metadata_id),
                ("revision", revision),
                ("digest", digest),
                ("duplicates", duplicates),
            ],
        )
        self._connection.execute("COMMIT")

    def close(self) -> None:
        """Close; a run that was not committed leaves the memory as it was before."""
        self._connection.close()

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return self._connect()
        except sqlite3.DatabaseError:
            # Damaged, or not a database: it is only a memory.
            for suffix in ("", "-journal", "-wal", "-shm"):
                with suppress(FileNotFoundError):
                    self.path.with_name(self.path.name + suffix).unlink()
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, timeout=120)
        try:
            connection.execute("PRAGMA synchronous=OFF")
            connection.execute("PRAGMA temp_store=MEMORY")
            names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if names != {"info", "seen"}:
                for name in names:
                    connection.execute(f'DROP TABLE "{name}"')
                connection.executescript(_SCHEMA)
            connection.execute("SELECT count(*) FROM info").fetchone()
            connection.execute("SELECT path, size, mtime, ctime, inode, file FROM seen LIMIT 1").fetchone()
        except sqlite3.DatabaseError:
            connection.close()
            raise
        return connection
