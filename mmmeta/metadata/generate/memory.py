"""scan.db: what generate remembers of the files root, so that a file that did not change is not opened.

A file whose size, mtime, ctime and inode are as remembered is taken as unchanged. The memory belongs to one metadata db at
one revision; where that does not fit it is thrown away, and so it can be deleted at any time.
"""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from mmmeta.errors import MmmetaError
from mmmeta.layout import require_plain
from mmmeta.metadata.db import Head, revision_digest
from mmmeta.metadata.generate.line_keys import MARK, line_key, whole
from mmmeta.metadata.generate.line_memory import DESCRIBED, SCHEMA, LineMemory
from mmmeta.metadata.generate.walk import Entry, Walk, display_path
from mmmeta.sqlite.connection import BUSY_TIMEOUT
from mmmeta.sqlite.statements import quote_identifier
from mmmeta.writing import make_folder

_AGAIN = -1
"""Remembered as the mtime of what is to be read again: where the metadata was set aside, and where the mtime is not older
than the scan, because a later write could leave the same."""

_ERRORS = (sqlite3.Error, UnicodeDecodeError, OverflowError)
"""What SQLite raises over a damaged file; a schema that is not text makes it stumble over its own message."""

_COARSE = 10_000_000
"""Nanoseconds; stamps that are multiples of this are no chance."""

_TICK = 2_000_000_000
"""Nanoseconds; the coarsest stamps in use, FAT's. A file that was written twice within it may show the same."""

_CLOCKS_DIFFER = 600_000_000_000
"""Nanoseconds by which the clock of a files root that cannot be asked may lag. What was written since is read again."""

_BATCH = 1_000
"""Rows that are read or written at once."""

_NOT_TEXT = "Could not decode"
_OUTER_REASONS = ("locked", "unable to open", "readonly", "full", "disk I/O")
"""Words of errors that say nothing about the file's content."""

_SCHEMA = (
    "CREATE TABLE info (name TEXT PRIMARY KEY NOT NULL, value) WITHOUT ROWID",
    "CREATE TABLE seen (path BLOB PRIMARY KEY NOT NULL, size, mtime, ctime, inode, file TEXT) WITHOUT ROWID",
    *SCHEMA,
)
_TABLES = {"info", "seen", "lines", "tallies"}


class ScanDbError(MmmetaError):
    """scan.db cannot be used. It is only a memory: where ``damaged`` is true, throw it away and begin again."""

    def __init__(self, path: Path, error: Exception) -> None:
        text = str(error)
        self.damaged = _NOT_TEXT in text or not any(word in text for word in _OUTER_REASONS)
        super().__init__(
            f"another generate is writing {path.parent.parent}: {error}; try again"
            if "locked" in text and not self.damaged
            else f"{path} cannot be used: {error}"
        )


class Seen(NamedTuple):
    """A metadata file read in this run; ``file`` is the unique value, None where the metadata was set aside."""

    file: str | None


def clock_at(root: Path, metadir: Path) -> int:
    """What time it is where the files lie, in nanoseconds, read off a nameless file made there.

    It may be another file system than the metadir's, with stamps of whole seconds or a clock that lags. Where nothing can
    be written there, it is the metadir's time and a margin.

    Raises:
        OSError: the folder in the metadir cannot be written.
    """
    with suppress(OSError):
        return _stamp_in(root)
    return _stamp_in(metadir) - _CLOCKS_DIFFER


def _stamp_in(folder: Path) -> int:
    with tempfile.TemporaryFile(dir=folder, prefix=".mmmeta-clock-") as file:
        file.write(b".")
        file.flush()
        return os.fstat(file.fileno()).st_mtime_ns


def _is_coarse(entry: Entry) -> bool:
    """Whether a file's stamps look as if its file system had whole seconds (ext3, HFS+; FAT has every other one), or
    hundredths."""
    return not (entry.mtime % _COARSE or entry.ctime % _COARSE)


class ScanDb:
    """What generate saw last time; ``compare`` and ``remember`` in one run, then ``commit`` after meta.db's commit."""

    def __init__(self, path: Path, identity: str, root: Path) -> None:
        """``identity`` names everything but the metadata db that the memory depends on (config, root, mode).

        Raises:
            LegacyMetadirError: the folder belongs to an old metadir.
            MmmetaError: the folder cannot be written.
        """
        self.path = path
        self._identity = identity
        try:
            make_folder(path.parent)
            require_plain(path)
            self._started = clock_at(root, path.parent)
        except OSError as error:
            raise MmmetaError(f"{path.parent} cannot be written: {error.strerror}") from error
        self._connection = self._open()
        self.lines = LineMemory(self._run, self._run_many, self._rows)
        self.unchanged = 0
        self.gone: list[bytes] = []
        self._read: list[tuple[object, ...]] = []

    def belongs_to(self) -> tuple[str, int, bytes] | None:
        """Metadata db id, revision and digest that this memory was made with; None if there is none to use."""
        info = dict(self._rows("SELECT name, value FROM info"))
        if info.get("identity") != self._identity:
            return None
        metadata_id, revision, digest = info.get("metadata_id"), info.get("revision"), info.get("digest")
        if isinstance(metadata_id, str) and isinstance(revision, int) and isinstance(digest, bytes):
            return metadata_id, revision, digest
        return None

    def fits(self, connection: sqlite3.Connection, head: Head) -> bool:
        """Whether the history of a metadata db contains what this memory was made with."""
        belongs = self.belongs_to()
        if belongs is None:
            return False
        metadata_id, revision, digest = belongs
        return metadata_id == head.id and revision <= head.revision and revision_digest(connection, revision) == digest

    def begin(self) -> None:
        """Start a run; a second generate of the same metadir waits here.

        Raises:
            MmmetaError: another generate did not finish in time.
        """
        self._run("BEGIN IMMEDIATE")
        self._run(
            "CREATE TEMP TABLE fresh (path BLOB PRIMARY KEY NOT NULL, size, mtime, ctime, inode, file TEXT) WITHOUT ROWID"
        )
        self.lines.begin()

    def forget(self) -> None:
        """Take everything as new."""
        self._run("DELETE FROM seen")
        self.lines.forget()
        self._run("DELETE FROM info")

    def compare(self, walk: Walk) -> Iterator[Entry]:
        """Yield the walk's files that are new or may have changed.

        Files that are as remembered are counted in ``unchanged``, and those that are gone noted for ``commit``.
        """
        rows = self._sane_rows("SELECT path, size, mtime, ctime, inode FROM seen ORDER BY path")
        remembered = next(rows, None)
        for entry in walk:
            if remembered == entry:
                self.unchanged += 1
                remembered = next(rows, None)
                continue
            key = entry.key
            while remembered is not None and remembered[0] < key:
                self.gone.append(remembered[0])
                remembered = next(rows, None)
            if remembered == entry:
                self.unchanged += 1
            else:
                yield entry
            if remembered is not None and remembered[0] == key:
                remembered = next(rows, None)
        while remembered is not None:
            self.gone.append(remembered[0])
            remembered = next(rows, None)

    def remember(self, entry: Entry, file: str | None, *, again: bool = False) -> None:
        """Note a file that was read: ``file`` is its unique value, '' for lines, None if it was set aside; ``again``: it is
        to be read the next time, too."""
        key, size, mtime, ctime, inode = entry
        settled = self._started - (_TICK if _is_coarse(entry) else 0)
        again = again or file is None or mtime >= settled or ctime >= settled
        self._read.append((key, size, _AGAIN if again else mtime, ctime, inode, file))
        if len(self._read) == _BATCH:
            self._flush()

    def _flush(self) -> None:
        """Hand over what was remembered so far, so that queries see it."""
        if self._read:
            self._run_many("INSERT OR REPLACE INTO temp.fresh VALUES (?, ?, ?, ?, ?, ?)", self._read)
            self._read.clear()

    def settle(self, walk: Walk) -> None:
        """Bring the memory up to this run, still uncommitted; what the walk could not look at is remembered as before."""
        self._flush()
        gone = [key for key in self.gone if not walk.hides(key)]
        self.unchanged += self.lines.settle(gone, set(self.gone))
        self._run_many("DELETE FROM seen WHERE path = ?", [(key,) for key in gone])
        self._run("INSERT OR REPLACE INTO seen SELECT * FROM temp.fresh")

    def is_empty(self) -> bool:
        """Whether not one metadata file is there."""
        return self._row("SELECT 1 FROM seen LIMIT 1") is None

    def sees(self, key: bytes, file: str) -> bool:
        """Whether the metadata file at ``key`` is there and is still that of ``file``, or cannot be read now."""
        row = self._row("SELECT file FROM seen WHERE path = ?", whole(key))
        if row is None or row[0] is None or MARK not in key:
            return row is not None and row[0] in (None, file)
        return self.lines.holds(key, file) or self.lines.is_broken(key)

    def describes(self, key: bytes, file: str) -> bool:
        """Whether the metadata file at ``key`` is there and is that of ``file``, as this run has seen it."""
        if MARK in key:
            return self.lines.holds(key, file)
        row = self._row("SELECT file FROM seen WHERE path = ?", key)
        return row is not None and row[0] == file

    def read_now(self, key: bytes, file: str) -> Seen | None:
        """What this run has read at a key (of a line: whether its file has ``file``); None where it has read nothing."""
        self._flush()
        if MARK in key and self._row("SELECT file FROM temp.fresh WHERE path = ?", whole(key)) is not None:
            return Seen(file if self.lines.has_read(key, file) else None)
        row = self._row("SELECT file FROM temp.fresh WHERE path = ?", key)
        return None if row is None else Seen(row[0])

    def others(self, files: set[str]) -> Iterator[tuple[bytes, str]]:
        """Keys of all remembered metadata files of these files."""
        for key, file in self._sane_rows("SELECT path, file FROM seen WHERE file IS NOT NULL"):
            if file in files:
                yield key, file
        yield from self.lines.others(files)

    def entry(self, key: bytes) -> Entry | None:
        """The remembered entry at a key."""
        row = self._row("SELECT path, size, mtime, ctime, inode FROM seen WHERE path = ?", whole(key))
        if row is None:
            return None
        if not all(type(number) is int for number in row[1:]):
            raise self._odd_rows()
        return Entry(*row)

    def duplicates(self, *, changed: bool) -> int:
        """How many metadata files beyond the first share a unique value; counted again only where something changed."""
        if not changed:
            row = self._row("SELECT value FROM info WHERE name = 'duplicates'")
            if row is not None and type(row[0]) is int:
                return row[0]
        records = DESCRIBED if self.lines.any() else "seen"
        row = self._row(f"SELECT count(file) - count(DISTINCT file) FROM {records}")
        return 0 if row is None else int(row[0])

    def shared(self, most: int, *, changed: bool) -> str:
        """The first unique values that several metadata files share, with these files by path, as JSON ``[[value,
        [path]]]``; looked for again only where something changed."""
        if not changed:
            row = self._row("SELECT value FROM info WHERE name = 'shared'")
            if row is not None and isinstance(row[0], str):
                return row[0]
        files = [
            str(file)
            for (file,) in self._run(
                f"SELECT file FROM {DESCRIBED} GROUP BY file HAVING count(*) > 1 ORDER BY file LIMIT ?",
                most,
            )
        ]
        paths: dict[str, list[str]] = {file: [] for file in files}
        if files:
            marks = ", ".join("?" * len(files))
            sql = f"SELECT file, path, line FROM {DESCRIBED} WHERE file IN ({marks}) ORDER BY path, line"
            for file, key, line in self._run(sql, *files):
                paths[file].append(display_path(line_key(key, line) if line else key))
        return json.dumps(list(paths.items()))

    def commit(self, metadata_id: str, revision: int, digest: bytes, duplicates: int, shared: str) -> None:
        """Keep this run's memory as that of the metadata db at this revision."""
        info: dict[str, object] = {"identity": self._identity, "metadata_id": metadata_id, "revision": revision}
        info |= {"digest": digest, "duplicates": duplicates, "shared": shared}
        self._run_many("INSERT OR REPLACE INTO info (name, value) VALUES (?, ?)", list(info.items()))
        self._run("COMMIT")

    def close(self) -> None:
        """Close; a run that was not committed leaves the memory as it was before."""
        self._connection.close()

    def _run(self, sql: str, *parameters: object) -> sqlite3.Cursor:
        try:
            return self._connection.execute(sql, parameters)
        except _ERRORS as error:
            raise ScanDbError(self.path, error) from error

    def _run_many(self, sql: str, parameters: list[tuple[object, ...]]) -> None:
        try:
            self._connection.executemany(sql, parameters)
        except _ERRORS as error:
            raise ScanDbError(self.path, error) from error

    def _row(self, sql: str, *parameters: object) -> tuple[Any, ...] | None:
        return next(self._rows(sql, *parameters), None)

    def _rows(self, sql: str, *parameters: object) -> Iterator[tuple[Any, ...]]:
        return chain.from_iterable(self._batches(sql, *parameters))

    def _batches(self, sql: str, *parameters: object) -> Iterator[list[tuple[Any, ...]]]:
        cursor = self._run(sql, *parameters)
        while True:
            try:
                rows = cursor.fetchmany(_BATCH)
            except _ERRORS as error:
                raise ScanDbError(self.path, error) from error
            if not rows:
                return
            yield rows

    def _sane_rows(self, sql: str, *parameters: object) -> Iterator[tuple[Any, ...]]:
        """Rows whose first value is a path; a file that was damaged within a page has others, and SQLite does not mind."""
        return chain.from_iterable(map(self._sane, self._batches(sql, *parameters)))

    def _sane(self, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        if any(type(row[0]) is not bytes for row in rows):
            raise self._odd_rows()
        return rows

    def _odd_rows(self) -> ScanDbError:
        return ScanDbError(self.path, sqlite3.DatabaseError("it has rows that no generate wrote"))

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except _ERRORS as error:
            if not ScanDbError(self.path, error).damaged:
                raise ScanDbError(self.path, error) from error
        discard(self.path)
        try:
            return self._connect()
        except _ERRORS as error:
            raise ScanDbError(self.path, error) from error

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, timeout=BUSY_TIMEOUT)
        try:
            connection.execute("PRAGMA synchronous=OFF")
            connection.execute("PRAGMA temp_store=MEMORY")
            connection.execute("PRAGMA cell_size_check=ON")
            if _tables(connection) != _TABLES:
                # Looked at again inside the transaction: another generate may be making them just now.
                connection.execute("BEGIN IMMEDIATE")
                names = _tables(connection)
                if names != _TABLES:
                    for name in names:
                        connection.execute(f"DROP TABLE {quote_identifier(name)}")
                    for sql in _SCHEMA:
                        connection.execute(sql)
                connection.execute("COMMIT")
            connection.execute("SELECT count(*) FROM info").fetchone()
            connection.execute("SELECT path, size, mtime, ctime, inode, file FROM seen LIMIT 1").fetchone()
        except _ERRORS:
            connection.close()
            raise
        return connection


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def discard(path: Path) -> None:
    """Throw the memory away; everything is read again.

    Raises:
        MmmetaError: it cannot be removed.
    """
    for suffix in ("", "-journal", "-wal", "-shm"):
        try:
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        except OSError as error:
            raise MmmetaError(
                f"{path}: is damaged, or its disk gives errors, and cannot be removed: {error.strerror}; remove it, for "
                "it is only a memory of what generate saw"
            ) from error
