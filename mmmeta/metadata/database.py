"""meta.db as a file: one file at rest, so that it is safe to copy, and looked at before it is believed.

It has a rollback journal, and no reading connection is kept: a plain copy or ``rsync --inplace`` replaces its content under
a connection, which believes its cache where the new content happens to have the same change counter (a fork, a restored
archive). What a sync tool may have left (a file that was cut, one in WAL mode, one with the journal of a killed writer) is
recognised by its first bytes and by what lies beside it. How those are looked at is the subject of ``mmmeta.sqlite.headers``.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mmmeta.errors import (
    HotJournalError,
    MetadataDbError,
    MetadirNotFoundError,
    MmmetaError,
    UnfinishedSyncError,
    remedy_of,
)
from mmmeta.layout import open_plain, why_misplaced
from mmmeta.sqlite.connection import set_journal_mode, size_of, uri_of
from mmmeta.sqlite.database import SUFFIXES, Database
from mmmeta.sqlite.forks import inside
from mmmeta.sqlite.headers import HEADER_BYTES, IN_USE, FileStamp, Identity, extent_by, is_sqlite, is_wal, stamp_of
from mmmeta.sqlite.pool import Reader
from mmmeta.writing import make_folder

__all__ = ["MetadataDatabase"]

_WRITE_AGAIN = "at the server run `mmmeta generate`, or what was inserting, again; at a client sync the metadir again"


class MetadataDatabase(Database):
    """The metadata db's file. An open read keeps the server from committing, so give connections back soon.

    Args:
        path: the file.
        read_only: never create or change anything, as a client opens it.
        server_mark: the file that tells that meta.db is the server's own, where no sync helps.
    """

    since = 0
    """The revision from which on this holds what changed; 0 where it holds everything, as meta.db does."""

    def __init__(self, path: Path, *, read_only: bool = False, server_mark: Path | None = None) -> None:
        super().__init__(path)
        self.read_only = read_only
        self._server_mark = server_mark
        self._writer_stamp: FileStamp | None = None
        self._made = False

    @property
    def shown(self) -> Path:
        """The file that messages name."""
        return self.path

    def has_content(self) -> bool:
        """Whether the file is there and more than a beginning that another process is making just now."""
        return size_of(self.path) > 0

    def has_hot_journal(self) -> bool:
        """Whether a journal lies beside the file: of a writer that was killed, or of one at work.

        One that begins with a zero byte was left before anything was changed, and SQLite ignores it as well.
        """
        try:
            with os.fdopen(open_plain(self._beside("-journal")), "rb") as journal:
                return journal.read(1) not in (b"", b"\0")
        except OSError:
            return False

    def recover(self) -> None:
        """Roll back what a killed writer left behind; SQLite does so when a writer reads."""
        self._forget_after_fork()
        with self._writing, inside(), self._translated():
            self._write_connection().execute("SELECT count(*) FROM sqlite_master").fetchone()

    @contextmanager
    def lent(self) -> Iterator[str]:
        """The URI by which a connection to another database may attach this one, to read, while the block runs.

        Raises:
            MetadirNotFoundError: there is no such file.
            MetadataDbError: it cannot be read.
        """
        identity = self._identity()
        self._require_plain(*SUFFIXES)
        kind = self._check_header()
        IN_USE.enter(identity)
        try:
            yield uri_of(self.path, kind)
        finally:
            IN_USE.leave(identity)

    # Connections

    def _make_folder(self) -> None:
        make_folder(self.path.parent)

    def _set_journal(self, connection: sqlite3.Connection) -> None:
        # Another program's database in WAL mode is refused later on, and left as it is.
        if _is_ours(connection):
            set_journal_mode(connection, "DELETE")

    def _open_reader(self) -> Reader:
        kind = self._check_header()
        identity = self._identity()
        IN_USE.enter(identity)
        try:
            connection = self._connect(kind)
            if self.read_only:
                connection.allow(size_of(self.path), self._note_excess)
            return Reader(connection, identity, reusable=False)
        except sqlite3.Error:
            IN_USE.leave(identity)
            raise

    def _write_connection(self) -> sqlite3.Connection:
        if self.read_only:
            raise self.error("was opened for reading only", "write at the server")
        return super()._write_connection()

    def _open_writer(self) -> None:
        if self.has_content():
            self._check_header()
        self._made = not self.path.exists()
        super()._open_writer()
        assert self._writer_identity is not None
        self._writer_stamp = stamp_of(self.path)
        IN_USE.enter(self._writer_identity)

    def _close(self, connection: sqlite3.Connection, identity: Identity | None) -> None:
        super()._close(connection, identity)
        if identity is not None:
            IN_USE.leave(identity)

    def close_idle(self) -> None:
        """Nothing: with a rollback journal an idle connection holds no lock, which a child could mistake for its own."""

    def _writer_is_stale(self) -> bool:
        """Also where meta.db was written since the connection was done with it: by another process, or by a copy in place."""
        return super()._writer_is_stale() or (not self._depth and stamp_of(self.path) != self._writer_stamp)

    def _committed(self) -> None:
        self._writer_stamp = stamp_of(self.path)
        self._made = False

    def _rolled_back(self, connection: sqlite3.Connection) -> None:
        """A metadata db that was made for a write that was refused goes again: no archive begins at a mistyped path."""
        if not self._made:
            return
        connection.execute("BEGIN IMMEDIATE")  # who waits for the file meanwhile finds out that it is gone
        empty = not self.has_content()
        if empty:
            with suppress(OSError):
                self.path.unlink()
        connection.execute("ROLLBACK")
        if empty:
            self._drop_writer()
            with suppress(OSError):
                self.path.parent.rmdir()

    # What a sync tool may have left

    def _check_header(self) -> str:
        """Recognise what a sync tool may have left; returns the kind of connection to read with."""
        reason, is_empty, is_cut = None, False, False
        for _ in range(2):  # twice, for a commit may have come between two looks
            try:
                with IN_USE.peek(self.path) as header:
                    if header is None:
                        return "ro"
                    reason, is_empty = _why_not_readable(header, self.path), not header
                    is_cut = is_sqlite(header)
            except OSError as error:
                raise self.error(f"cannot be read: {error.strerror}", remedy_of(error)) from error
            if self.has_hot_journal():
                return "ro"  # in the middle of a change; SQLite knows what to do
            if reason is None:
                return "immutable" if is_wal(header) and not self._has_live_log() else "ro"
        # One that the first write has left, which was killed, needs no backup.
        unreadable = self.error(reason or "", _WRITE_AGAIN if is_empty else None)
        if is_cut and not self._is_servers():
            raise UnfinishedSyncError(str(unreadable))
        raise unreadable

    def _has_live_log(self) -> bool:
        """Whether a write-ahead log lies beside the metadata db, and a program that uses it.

        Raises:
            MetadataDbError: only the log is there.
        """
        log = self._beside("-wal")
        if not size_of(log):
            return False
        if not self._beside("-shm").exists():
            raise self.error(f"comes with a write-ahead log ({log.name}), which is not for syncing")
        return True

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    # Errors

    def error(self, reason: str, remedy: str | None = None) -> MmmetaError:
        return MetadataDbError(f"metadata db {self.path} {reason}; {remedy or self._remedy()}")

    def damaged(self, reason: str) -> MmmetaError:
        return self.error(f"is damaged or was copied while it was written ({reason})")

    def _remedy(self) -> str:
        """What to do about a file that cannot be read."""
        if self._is_servers():
            return "restore it from a backup, or move it away and run `mmmeta generate`, which makes a new one"
        return "sync the metadir again"

    def _is_servers(self) -> bool:
        """Whether it is written here, and no sync brings it."""
        return self._server_mark is not None and self._server_mark.exists()

    def _missing(self) -> MmmetaError:
        misplaced = why_misplaced(self.path.parent.parent)
        if misplaced is not None:
            return MetadirNotFoundError(f"no metadata db at {self.path}: {misplaced}")
        if self.path.with_name("head.json").exists():
            return MetadirNotFoundError(
                f"no metadata db at {self.path}, only the change log beside it: run `mmmeta update`, which merges it"
            )
        changes = self.path.with_name("changes")
        if changes.is_dir() and any(changes.glob("*.jsonl.gz")):
            return MetadirNotFoundError(
                f"no metadata db at {self.path}, and no head.json, which says what the segments in {changes.name}/ are: it comes "
                "last, so wait for the sync to finish; if it has, let it bring head.json as well"
            )
        return MetadirNotFoundError(
            f"no metadata db at {self.path}: sync the metadir first, run `mmmeta generate` at the server, "
            "or check the path"
        )

    def _own_error(self) -> MmmetaError | None:
        if not self.has_hot_journal():
            return None
        return HotJournalError(
            f"metadata db {self.path} comes with the journal of an unfinished write ({self.path.name}-journal). At the "
            "server run `mmmeta generate`, which recovers it; at a client sync the metadir again"
        )


def _why_not_readable(header: bytes, path: Path) -> str | None:
    extent = extent_by(header, path)
    if not header:
        return "is empty: the sync or the first generate did not finish"
    if not extent.is_sqlite:
        return "is not an SQLite database"
    if len(header) < HEADER_BYTES:
        return f"is cut short: {extent.size} bytes are not even a header"
    if extent.size < extent.expected:
        return f"is cut short: {extent.size} of {extent.expected} bytes"
    return None


def _is_ours(connection: sqlite3.Connection) -> bool:
    """Whether this is a metadata db, as far as its table ``info`` tells."""
    columns = {name for (name,) in connection.execute("SELECT name FROM pragma_table_info('info')")}
    if not {"name", "value"} <= columns:
        return False
    return bool(connection.execute("SELECT value FROM info WHERE name = 'role'").fetchone() == ("metadata",))
