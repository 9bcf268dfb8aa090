"""Opens meta.db and the state db: the one place that knows connections, journal modes and transactions.

A ``Database`` keeps one writing connection, handed out to one thread at a time, and a few reading ones, so that a loop
over files and a ``save()`` within it do not get in each other's way. Of meta.db no reading connection is kept: a plain
copy or ``rsync --inplace`` replaces its content under a connection, which believes its cache where the new content happens
to have the same change counter (a fork, a restored archive). Errors of SQLite come out as errors of mmmeta that
say which file and what to do.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from mmmeta.chunks import PER_STATEMENT, in_chunks
from mmmeta.errors import HotJournalError, MetadataDbError, MetadirNotFoundError, MmmetaError, StateDbError
from mmmeta.sqlite.connection import BUSY_TIMEOUT, connect, kind_to_read, quote_identifier, uri_of
from mmmeta.sqlite.damage import STUMBLES, Damage, is_busy, tells_damage, why_not_whole, words_of
from mmmeta.sqlite.headers import IN_USE, Identity, Stamp, is_wal, stamp_of, why_not_readable

__all__ = ["BUSY_TIMEOUT", "Database", "execute_in_chunks", "quote_identifier"]

_PERMISSIONS = "check the permissions of the file and its folder"

_IDLE_READERS = 4
"""Reading connections kept open for the next read; more are closed when given back."""

_INHERITED: list[object] = []
"""Connections that came over a fork: never used and never closed, for closing would undo the parent's transaction."""


class _Reader(NamedTuple):
    """A reading connection, which file it is connected to, and whether it may serve again."""

    connection: sqlite3.Connection
    identity: Identity
    reusable: bool


class Database:
    """One SQLite file.

    Args:
        path: the file.
        role: ``"metadata"`` (rollback journal: one file at rest, safe to copy) or ``"state"`` (WAL, every commit flushed).
        read_only: never create or change anything; meta.db as a client opens it.
        server_mark: the file that tells that meta.db is the server's own, where no sync helps.
    """

    def __init__(self, path: Path, *, role: str, read_only: bool = False, server_mark: Path | None = None) -> None:
        self.path = path
        self.role = role
        self.read_only = read_only
        self._server_mark = server_mark
        self._writing = threading.RLock()
        self._pool = threading.Lock()
        self._readers: list[_Reader] = []
        self._writer: sqlite3.Connection | None = None
        self._writer_identity: Identity | None = None
        self._writer_stamp: Stamp | None = None
        self._made = False
        self._depth = 0
        self._pid = os.getpid()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that only reads; give it back soon, for in meta.db an open read keeps the server from committing.

        Raises:
            MetadirNotFoundError: there is no such file.
            MetadataDbError, StateDbError: it cannot be read.
        """
        self._forget_after_fork()
        with self._translated(reading=True):
            reader = self._take_reader()
            try:
                yield reader.connection
            finally:
                self._give_back(reader)

    @contextmanager
    def atomic(self, *, attach: Database | None = None, existing: bool = False) -> Iterator[sqlite3.Connection]:
        """A transaction on the writing connection: committed at the end, rolled back on any error; nests by joining.

        Args:
            attach: another database, readable in this transaction as schema ``remote``; it is opened read-only.
            existing: make no new file where there is none, for it would be empty.

        Raises:
            StateDbError, MetadataDbError: it cannot be used, or was removed although it has to be there.
        """
        self._forget_after_fork()
        with self._writing:
            if not self._depth:
                if existing and not self.exists():
                    raise self._error("is gone: it was removed while it was in use; `mmmeta update` makes it anew")
                with self._begun(attach) as connection:
                    yield connection
                return
            assert self._writer is not None
            yield self._writer

    @contextmanager
    def _begun(self, attach: Database | None) -> Iterator[sqlite3.Connection]:
        with self._translated(attach):
            connection = self._write_connection()
            with self._attached(connection, attach):
                connection.execute("BEGIN IMMEDIATE")
                self._depth = 1
                try:
                    if self._was_replaced():
                        raise self._taken_away()
                    yield connection
                    connection.execute("COMMIT")
                    self._writer_stamp = stamp_of(self.path)
                    self._made = False
                finally:
                    self._depth = 0
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                        self._take_away_again(connection)

    def _taken_away(self) -> MmmetaError:
        return self._error("was taken away or replaced while this waited for it", "try again")

    def _take_away_again(self, connection: sqlite3.Connection) -> None:
        """A metadata db that was made for a write that was refused goes again: no archive begins at a mistyped path."""
        if not self._made or self.role != "metadata":
            return
        connection.execute("BEGIN IMMEDIATE")  # whoever waits for the file meanwhile finds out that it is gone
        empty = not _size(self.path)
        if empty:
            with suppress(OSError):
                self.path.unlink()
        connection.execute("ROLLBACK")
        if empty:
            self._drop_writer()
            with suppress(OSError):
                self.path.parent.rmdir()

    @contextmanager
    def _attached(self, connection: sqlite3.Connection, database: Database | None) -> Iterator[None]:
        """``database`` as schema ``remote``, read-only."""
        if database is None:
            yield
            return
        identity = database._identity()
        kind = database._check_header()
        IN_USE.enter(identity)
        try:
            connection.execute("ATTACH ? AS remote", (uri_of(database.path, kind),))
            try:
                yield
            finally:
                try:
                    connection.execute("DETACH remote")
                except sqlite3.OperationalError:
                    # The error on its way keeps a statement open; what it says must not get lost over this.
                    self._drop_writer()
        finally:
            IN_USE.leave(identity)

    def exists(self) -> bool:
        """Whether the file is there.

        Raises:
            MetadataDbError, StateDbError: nobody may look.
        """
        try:
            return self.path.exists()
        except OSError as error:
            raise self._error(f"cannot be looked for: {error.strerror}", _PERMISSIONS) from error

    def has_content(self) -> bool:
        """Whether the file is there and more than a beginning that another process is making just now."""
        return _size(self.path) > 0

    def has_hot_journal(self) -> bool:
        """Whether a journal lies beside the file: of a writer that was killed, or of one at work.

        One that begins with a zero byte was left before anything was changed, and SQLite ignores it as well.
        """
        try:
            with self.path.with_name(self.path.name + "-journal").open("rb") as journal:
                return journal.read(1) not in (b"", b"\0")
        except OSError:
            return False

    def recover(self) -> None:
        """Roll back what a killed writer left behind; SQLite does so when a writer reads."""
        self._forget_after_fork()
        with self._writing, self._translated():
            self._write_connection().execute("SELECT count(*) FROM sqlite_master").fetchone()

    def close(self) -> None:
        """Close all connections; the next use opens new ones."""
        self._forget_after_fork()
        with self._pool:
            readers, self._readers = self._readers, []
        for reader in readers:
            self._close(reader.connection, reader.identity)
        with self._writing:
            if not self._depth:
                self._drop_writer()

    def __del__(self) -> None:
        # Whoever forgets close() shall not get warnings of unclosed connections.
        with suppress(Exception):
            self.close()

    def _take_reader(self) -> _Reader:
        identity = self._identity()
        stale: list[_Reader] = []
        try:
            with self._pool:
                while self._readers:
                    reader = self._readers.pop()
                    if reader.identity == identity:
                        return reader
                    stale.append(reader)  # a sync tool put a new file in its place
        finally:
            for reader in stale:
                self._close(reader.connection, reader.identity)
        return self._open_reader()

    def _open_reader(self) -> _Reader:
        if self.role != "metadata":
            identity = self._identity()
            kind = kind_to_read(self.path)
            return _Reader(connect(self.path, kind, self.role), identity, kind == "ro")
        kind = self._check_header()
        identity = self._identity()
        IN_USE.enter(identity)
        try:
            return _Reader(connect(self.path, kind, self.role), identity, False)
        except sqlite3.Error:
            IN_USE.leave(identity)
            raise

    def _give_back(self, reader: _Reader) -> None:
        with self._pool:
            if reader.reusable and len(self._readers) < _IDLE_READERS:
                self._readers.append(reader)
                return
        self._close(reader.connection, reader.identity)

    def _close(self, connection: sqlite3.Connection, identity: Identity | None) -> None:
        connection.close()
        if self.role == "metadata" and identity is not None:
            IN_USE.leave(identity)

    def _was_replaced(self) -> bool:
        """Whether another file is where the writing connection's was, or none."""
        try:
            return self._identity() != self._writer_identity
        except MmmetaError:
            return True

    def _was_overwritten(self) -> bool:
        """Whether meta.db was written since this connection was done with it: by another process, or by a copy in place."""
        return self.role == "metadata" and not self._depth and stamp_of(self.path) != self._writer_stamp

    def _drop_writer(self) -> None:
        if self._writer is not None:
            self._close(self._writer, self._writer_identity)
            self._writer = None

    def _identity(self) -> Identity:
        try:
            status = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            if self.role == "metadata":
                raise MetadirNotFoundError(
                    f"no metadata db at {self.path}: sync the metadir first, run `mmmeta generate` at the server, "
                    "or check the path"
                ) from None
            raise StateDbError(f"no state db at {self.path}: run `mmmeta update` first") from None
        except OSError as error:
            raise self._error(f"cannot be opened: {error.strerror}", _PERMISSIONS) from error
        if stat.S_ISDIR(status.st_mode):
            raise self._error("is a folder, not a file", "check the path")
        return status.st_dev, status.st_ino

    def _write_connection(self) -> sqlite3.Connection:
        if self.read_only:
            raise self._error("was opened for reading only", "write at the server")
        if self._writer is not None and (self._was_replaced() or self._was_overwritten()):
            # A restored backup or a sync: what is written into the old file would be lost, and what is remembered of an
            # overwritten one may be wrong.
            self._drop_writer()
        if self._writer is None:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise self._error(f"cannot be made: {error.strerror} ({error.filename})") from error
            if self.role == "metadata" and _size(self.path):
                self._check_header()
            self._made = not self.path.exists()
            self._writer = connect(self.path, "rwc", self.role)
            self._writer_identity = self._identity()
            self._writer_stamp = stamp_of(self.path)
            if self.role == "metadata":
                IN_USE.enter(self._writer_identity)
        return self._writer

    def _check_header(self) -> str:
        """Recognise what a sync tool may have left (see ``headers``); returns the kind of connection to read with."""
        reason = None
        for _ in range(2):  # twice, for a commit may have come between two looks
            try:
                with IN_USE.peek(self.path) as header:
                    if header is None:
                        return "ro"
                    reason = why_not_readable(header, self.path)
            except OSError as error:
                raise self._error(f"cannot be read: {error.strerror}", _PERMISSIONS) from error
            if self.has_hot_journal():
                return "ro"  # in the middle of a change; SQLite knows what to do
            if reason is None:
                return "immutable" if is_wal(header) and not self._has_live_log() else "ro"
        raise self._error(reason or "")

    def _has_live_log(self) -> bool:
        """Whether a write-ahead log lies beside the metadata db, and a program that uses it.

        Raises:
            MetadataDbError: only the log is there.
        """
        if not _size(self.path.with_name(self.path.name + "-wal")):
            return False
        if not self.path.with_name(self.path.name + "-shm").exists():
            raise self._error(f"comes with a write-ahead log ({self.path.name}-wal), which is not for syncing")
        return True

    def _forget_after_fork(self) -> None:
        """A connection must not cross a fork: the child drops what it inherited, unclosed, and opens its own."""
        if self._pid != os.getpid():
            _INHERITED.extend([self._readers, self._writer])
            self._writing = threading.RLock()
            self._pool = threading.Lock()
            self._readers = []
            self._writer = None
            self._depth = 0
            self._pid = os.getpid()

    def is_sound(self) -> bool:
        """Whether the file is whole as far as SQLite can tell; reads all of it."""
        return self.why_damaged() is None

    def why_damaged(self) -> str | None:
        """What is wrong with the file, as far as that can be told without knowing what it is for; reads all of it."""
        try:
            reader = self._take_reader()
            try:
                return why_not_whole(reader.connection)
            finally:
                self._give_back(reader)
        except (MmmetaError, sqlite3.Error, UnicodeDecodeError) as error:
            return None if is_busy(error) else words_of(error)

    def _error(self, reason: str, remedy: str | None = None) -> MmmetaError:
        if self.role == "state":
            return StateDbError(f"state db {self.path} {reason}{'' if remedy is None else f'; {remedy}'}")
        return MetadataDbError(f"metadata db {self.path} {reason}; {remedy or self._remedy()}")

    def damaged(self, reason: str) -> MmmetaError:
        """The error that says that the file is damaged, why, and what to do."""
        if self.role == "state":
            return self._error(f"is damaged ({reason})", self._remedy())
        return self._error(f"is damaged or was copied while it was written ({reason})")

    def _remedy(self) -> str:
        """What to do about a file that cannot be read."""
        if self.role == "state":
            return (
                "run `mmmeta update --replace`, which writes anew what came from the remote; if that fails, restore it from a "
                "backup, or move it away and update: what was set here and what the jobs have done is then forgotten"
            )
        if self._server_mark is not None and self._server_mark.exists():
            return "restore it from a backup, or move it away and run `mmmeta generate`, which makes a new one"
        return "sync the metadir again"

    @contextmanager
    def _translated(self, attached: Database | None = None, *, reading: bool = False) -> Iterator[None]:
        """Errors of SQLite as errors of mmmeta, and what Python stumbles over where the file is to blame."""
        try:
            yield
        except (sqlite3.Error, *STUMBLES) as error:
            if isinstance(error, MmmetaError):
                raise
            blamed = self if attached is None else self._blamed(error, attached)
            if isinstance(error, sqlite3.Error):
                raise blamed._translate(error, reading) from error
            reason = blamed.why_damaged()
            if reason is None:
                raise
            raise blamed.damaged(reason) from error

    def _blamed(self, error: Exception, attached: Database) -> Database:
        """One transaction, two files: SQLite does not say which of them it stumbled over."""
        if isinstance(error, Damage):
            return attached if error.schema == "remote" else self
        if not attached.is_sound():
            return attached
        # Where neither shows it, the one that was brought by a sync.
        return attached if tells_damage(error) and self.is_sound() else self

    def _translate(self, error: sqlite3.Error, reading: bool) -> MmmetaError:
        text = words_of(error)
        if is_busy(error):
            return self._error(f"is being written by another process for more than {BUSY_TIMEOUT:.0f} s", "try again")
        if not reading and "disk I/O" in text and self._writer is not None and self._was_replaced():
            return self._taken_away()  # between two looks at it
        if self.role == "metadata" and self.has_hot_journal():
            return HotJournalError(
                f"metadata db {self.path} comes with the journal of an unfinished write ({self.path.name}-journal). At the "
                "server run `mmmeta generate`, which recovers it; at a client sync the metadir again"
            )
        if tells_damage(error):
            return self.damaged(text)
        if "full" in text:
            return self._error(f"cannot grow: {text}", "make room on the disk")
        if reading and ("readonly" in text or "unable to open" in text):
            return self._error("cannot be opened for reading", _PERMISSIONS)
        if "readonly" in text:  # said also to those who only want to see what a transaction would give
            return self._error("may only be read here", _PERMISSIONS)
        if "unable to open" in text:
            return self._error(f"cannot be used: {text}", _PERMISSIONS)
        return self._error(f"cannot be used: {text}")


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0


def execute_in_chunks(
    connection: sqlite3.Connection, sql: str, values: Sequence[Any], size: int = PER_STATEMENT
) -> Iterator[tuple[Any, ...]]:
    """Run ``sql`` with ``{}`` replaced by so many ``?`` as there are values, a chunk at a time; yields the rows."""
    for chunk in in_chunks(values, size):
        yield from connection.execute(sql.format(", ".join("?" * len(chunk))), chunk).fetchall()
