"""scan.db: what generate remembers of the files root, so that a file that did not change is not opened.

A file whose size, mtime, ctime and inode are as remembered is taken as unchanged. The memory belongs to one metadata db at
one revision; where that does not fit it is thrown away, and so it can be deleted at any time. What it knows of documents
(their digests, by stat) depends on nothing but the files root, and is kept.
"""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
from collections.abc import Container, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from mmmeta.errors import MmmetaError
from mmmeta.layout import require_plain
from mmmeta.metadata.db import Head, revision_digest
from mmmeta.metadata.generate.line_keys import MARK, line_key, whole
from mmmeta.metadata.generate.line_memory import DESCRIBED, LineMemory
from mmmeta.metadata.generate.scan_file import BATCH, ScanFile
from mmmeta.metadata.generate.walk import Entry, Walk, display_path, entry_of, is_metadata_name, real_path
from mmmeta.values import json_text
from mmmeta.writing import make_folder

_AGAIN = -1
"""Remembered as the mtime of what is to be read again: where the metadata was set aside, and where the mtime is not older
than the scan, because a later write could leave the same."""

_COARSE = 10_000_000
"""Nanoseconds; stamps that are multiples of this are no chance."""

_TICK = 2_000_000_000
"""Nanoseconds; the coarsest stamps in use, FAT's. A file that was written twice within it may show the same."""

_CLOCKS_DIFFER = 600_000_000_000
"""Nanoseconds by which the clock of a files root that cannot be asked may lag. What was written since is read again."""


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


class ScanDb(ScanFile):
    """What generate saw last time; ``compare`` and ``remember`` in one run, then ``commit`` after meta.db's commit."""

    knows_documents: bool
    knows_lost: bool

    def __init__(self, path: Path, identity: str, root: Path, files_root: Path | None = None) -> None:
        """``identity`` names everything but the metadata db that the memory depends on (config, root, mode).

        Args:
            root: where a file may be made that tells the time.
            files_root: where the files lie; ``root`` unless given.

        Raises:
            LegacyMetadirError: the folder belongs to an old metadir.
            MmmetaError: the folder cannot be written.
        """
        self._identity = identity
        self._root = os.fsencode(os.path.realpath(root if files_root is None else files_root))
        try:
            make_folder(path.parent)
            require_plain(path)
            self._started = clock_at(root, path.parent)
        except OSError as error:
            raise MmmetaError(f"{path.parent} cannot be written: {error.strerror}") from error
        super().__init__(path)
        self.lines: LineMemory = LineMemory(self._run, self._run_many, self._rows)
        self.unchanged: int = 0
        self.gone: list[bytes] = []
        self._read: list[tuple[object, ...]] = []
        self._looked: list[tuple[object, ...]] = []
        self.knows_documents = self.knows_lost = False

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
            "CREATE TEMP TABLE fresh (path BLOB PRIMARY KEY NOT NULL, size, mtime, ctime, inode, file TEXT, document BLOB) "
            "WITHOUT ROWID"
        )
        self.lines.begin()

    def forget(self) -> None:
        """Take every metadata file as new; documents only where they lay elsewhere."""
        root = self._row("SELECT value FROM info WHERE name = 'root'")
        self._run("DELETE FROM seen")
        self.lines.forget()
        if root is None or root[0] != self._root:
            self._run("DELETE FROM documents")
        self._run("DELETE FROM info")

    def look_at_documents(self) -> None:
        """Find the documents that are not as remembered: their metadata files are read again.

        One ``stat`` for each document of which something was derived; of all others nothing is asked.
        """
        stale: list[tuple[object, ...]] = []
        lost: list[tuple[object, ...]] = []
        for row in self._sane_rows("SELECT path, size, mtime, ctime, inode FROM documents ORDER BY path"):
            self.knows_documents = True
            try:
                now: tuple[object, ...] = entry_of(row[0], os.stat(real_path(self._root, row[0])))
            except (OSError, ValueError):
                now = (row[0], None, None, None, None)
                lost.append((row[0],))
            if row != now:
                stale.append((row[0],))
        self.knows_lost = bool(lost)
        if stale:
            self._run("CREATE TEMP TABLE stale (path BLOB PRIMARY KEY NOT NULL) WITHOUT ROWID")
            self._run_many("INSERT INTO temp.stale VALUES (?)", stale)
            self._run("UPDATE seen SET mtime = ? WHERE document IN (SELECT path FROM temp.stale)", _AGAIN)
            lines = "SELECT path FROM line_documents WHERE document IN (SELECT path FROM temp.stale)"
            self._run(f"UPDATE seen SET mtime = ? WHERE path IN ({lines})", _AGAIN)
            self._run("DELETE FROM documents WHERE path IN (SELECT path FROM temp.stale)")
            self._run_many("INSERT OR REPLACE INTO documents (path) VALUES (?)", lost)

    def lost_document(self, key: bytes) -> bytes | None:
        """The document that was derived from for the metadata file at a key, and is no longer there."""
        if not self.knows_lost:
            return None
        row = self._row(
            "SELECT document FROM seen WHERE path = ? AND document IN (SELECT path FROM documents WHERE inode IS NULL)",
            key,
        )
        return None if row is None else bytes(row[0])

    def digest(self, document: Entry, function: str) -> str | None:
        """A digest of a document that is as it was when it was read."""
        if not self.knows_documents:
            return None
        row = self._row(
            "SELECT digests FROM documents WHERE path = ? AND size = ? AND mtime = ? AND ctime = ? AND inode = ?",
            *document,
        )
        try:
            found = json.loads(row[0]).get(function) if row is not None else None
        except (ValueError, TypeError, AttributeError) as error:
            raise self._odd_rows() from error
        return found if isinstance(found, str) else None

    def remember_document(self, document: Entry, digests: Mapping[str, str]) -> None:
        """Note a document of which something was derived, as it was when it was looked at."""
        mtime = _AGAIN if self._may_change_unseen(document) else document.mtime
        key, size, _, ctime, inode = document
        self._looked.append((key, size, mtime, ctime, inode, json_text(digests)))

    def documents_of_others(self) -> set[bytes]:
        """The documents that metadata files are about; complete after ``settle``."""
        rows = self._rows(
            "SELECT document FROM seen WHERE document IS NOT NULL AND document != path "
            "UNION SELECT document FROM line_documents"
        )
        return {document for (document,) in rows}

    def is_description(self, key: bytes) -> bool:
        """Whether what was found at a key is a document that was described, not a metadata file."""
        if not is_metadata_name(whole(key)):
            return True
        row = self._row("SELECT document = path FROM seen WHERE path = ?", key)
        return row is not None and bool(row[0])

    def release(self, documents: Container[bytes], read: Container[bytes]) -> None:
        """Forget those of these documents that were described: metadata files are about them by now. ``read`` are those
        that do not count as unchanged."""
        rows = self._sane_rows("SELECT path FROM seen WHERE document = path")
        gone = [key for (key,) in rows if key in documents]
        self.unchanged -= sum(key not in read for key in gone)
        self._run_many("DELETE FROM seen WHERE path = ?", [(key,) for key in gone])

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

    def remember(self, entry: Entry, file: str | None, document: bytes | None = None, *, again: bool = False) -> None:
        """Note a file that was read: ``file`` is its unique value, '' for lines, None if it was set aside; ``document`` the key
        of the document that it is about, its own where that was described; ``again``: it is to be read the next time, too."""
        key, size, mtime, ctime, inode = entry
        again = again or file is None or self._may_change_unseen(entry)
        self._read.append((key, size, _AGAIN if again else mtime, ctime, inode, file, document))
        if len(self._read) == BATCH:
            self._flush()

    def _may_change_unseen(self, entry: Entry) -> bool:
        """Whether a later write could leave the same stamps, for they are not older than this run."""
        settled = self._started - (_TICK if _is_coarse(entry) else 0)
        return entry.mtime >= settled or entry.ctime >= settled

    def _flush(self) -> None:
        """Hand over what was remembered so far, so that queries see it."""
        if self._read:
            self._run_many("INSERT OR REPLACE INTO temp.fresh VALUES (?, ?, ?, ?, ?, ?, ?)", self._read)
            self._read.clear()
        if self._looked:
            self._run_many("INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?, ?, ?)", self._looked)
            self._looked.clear()

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

    def shared(self, most: int, *, paths: int, changed: bool) -> str:
        """The first unique values that several metadata files share, each with the first of these files and their number,
        and how many values there are, as JSON ``{count, files: [[value, [path], number]]}``; looked for again only where
        something changed."""
        if not changed:
            row = self._row("SELECT value FROM info WHERE name = 'shared'")
            if row is not None and isinstance(row[0], str):
                return row[0]
        records = DESCRIBED if self.lines.any() else "(SELECT file, path, 0 AS line FROM seen WHERE file IS NOT NULL)"
        several = f"SELECT file, count(*) AS number FROM {records} GROUP BY file HAVING number > 1"
        counted = self._row(f"SELECT count(*) FROM ({several})")
        files: dict[str, tuple[list[str], int]] = {
            str(file): ([], number) for file, number in self._run(f"{several} ORDER BY file LIMIT ?", most)
        }
        if files:
            marks = ", ".join("?" * len(files))
            sql = f"SELECT file, path, line FROM {records} WHERE file IN ({marks}) ORDER BY path, line"
            for file, key, line in self._run(sql, *files):
                if len(files[file][0]) < paths:
                    files[file][0].append(display_path(line_key(key, line) if line else key))
        return json.dumps(
            {"count": counted[0] if counted else 0, "files": [[file, *said] for file, said in files.items()]}
        )

    def commit(self, metadata_id: str, revision: int, digest: bytes, duplicates: int, shared: str) -> None:
        """Keep this run's memory as that of the metadata db at this revision."""
        info: dict[str, object] = {"identity": self._identity, "metadata_id": metadata_id, "revision": revision}
        info |= {"digest": digest, "root": self._root, "duplicates": duplicates, "shared": shared}
        self._run_many("INSERT OR REPLACE INTO info (name, value) VALUES (?, ?)", list(info.items()))
        self._run("COMMIT")
