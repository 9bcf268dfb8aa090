"""One SQLite file: its connections and transactions.

A ``Database`` keeps one writing connection, handed out to one thread at a time, and a few reading ones, so that a loop
over files and a ``save()`` within it do not get in each other's way. Errors of SQLite come out as errors of mmmeta that
say which file and what to do. What a certain file needs beyond that (its journal, its guards, its remedies) a subclass says.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mmmeta.errors import MmmetaError, remedy_of
from mmmeta.layout import require_plain
from mmmeta.sqlite.connection import BUSY_TIMEOUT, Connection, connect, size_of, was_interrupted
from mmmeta.sqlite.damage import STUMBLES, Damage, is_busy, tells_damage, why_not_whole, words_of, words_tell_place
from mmmeta.sqlite.forks import inside, is_cut_off, watch
from mmmeta.sqlite.headers import Identity
from mmmeta.sqlite.pool import Reader, Readers
from mmmeta.sqlite.remedies import DISK, OPENING, PERMISSIONS, may_use, why_not_opened

__all__ = ["Database"]

SUFFIXES = ("", "-journal", "-wal", "-shm")
"""What is behind the names of the files that SQLite opens."""

LINKS = "remove it, and sync without links and without _mmmeta/local"
"""What to do about a link or a pipe where a file should be."""

_INHERITED: list[object] = []
"""Connections that came over a fork: never used and never closed, for closing would undo the parent's transaction."""


class Database(ABC):
    """One SQLite file.

    Attributes:
        path: of the file.
        read_only: whether nothing is ever created or changed through this.
    """

    read_only = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writing = threading.RLock()
        self._readers = Readers()
        self._writer: sqlite3.Connection | None = None
        self._writer_identity: Identity | None = None
        self._depth = 0
        self._distrusted = False
        self._exceeded = False
        self._pid = os.getpid()
        watch(self)

    # What a kind of database says of itself

    @abstractmethod
    def error(self, reason: str, remedy: str | None = None) -> MmmetaError:
        """The error that names the file, why it cannot be used, and what to do."""

    @abstractmethod
    def damaged(self, reason: str) -> MmmetaError:
        """The error that says that the file is damaged, why, and what to do."""

    @abstractmethod
    def _missing(self) -> MmmetaError:
        """The error for a file that is not there."""

    @abstractmethod
    def _make_folder(self) -> None:
        """Make the folder of the file, which is about to be written; raises OSError."""

    @abstractmethod
    def _set_journal(self, connection: sqlite3.Connection) -> None:
        """Give a connection that may write the journal that this file has."""

    def _kind_to_read(self) -> str:
        """The kind of connection to read with; see ``connect``."""
        return "ro"

    def _open_reader(self) -> Reader:
        """Open another reading connection."""
        identity = self._identity()
        kind = self._kind_to_read()
        return Reader(self._connect(kind), identity, reusable=kind != "immutable")

    def _open_writer(self) -> None:
        """Open the writing connection; the folder is there."""
        self._writer = self._connect("rwc")
        try:
            self._writer_identity = self._identity()
        except MmmetaError as error:  # another writer, who was refused, has taken its empty file away
            raise (self._taken_away() if not self.exists() else error) from None

    def _close(self, connection: sqlite3.Connection, identity: Identity | None) -> None:
        """Close a connection to the file that is or was this."""
        connection.close()

    def _writer_is_stale(self) -> bool:
        """Whether the writing connection is one to another file, or may remember what is no longer so."""
        return self._was_replaced()

    def _committed(self) -> None:
        """A transaction was just committed."""
        return

    def _rolled_back(self, connection: sqlite3.Connection) -> None:
        """A transaction was just rolled back."""
        return

    def _took_too_long(self) -> bool:
        """Whether a statement was just ended because it took more steps than a sound file can need."""
        exceeded, self._exceeded = self._exceeded, False
        return exceeded

    def _note_excess(self) -> None:
        self._exceeded = True

    def _own_error(self) -> MmmetaError | None:
        """An error that only this kind of file has and that explains what SQLite stumbled over; None if there is none."""
        return None

    # What everybody asks of it

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that only reads; give it back soon.

        Raises:
            MmmetaError: there is no such file, or it cannot be read.
        """
        self._forget_after_fork()
        with inside(), self._translated(reading=True):
            reader = self._take_reader()
            try:
                yield reader.connection
            except sqlite3.Error:
                self._close(reader.connection, reader.identity)  # what SQLite remembers of an error may last
                raise
            except BaseException:
                self._give_back(reader)
                raise
            self._give_back(reader)

    @contextmanager
    def atomic(self) -> Iterator[sqlite3.Connection]:
        """A transaction on the writing connection: committed at the end, rolled back on any error; nests by joining.

        Raises:
            MmmetaError: the file cannot be used.
        """
        self._forget_after_fork()
        with self._writing, inside():
            if self._depth:
                assert self._writer is not None
                yield self._writer
                return
            with self._translated():
                connection = self._write_connection()
                with self._transaction(connection):
                    yield connection

    @contextmanager
    def _transaction(self, connection: sqlite3.Connection) -> Iterator[None]:
        """The outermost transaction; within the lock."""
        if is_cut_off(self._writer_identity):
            raise self.error(
                "was in the middle of a transaction when this process was forked, so this process cannot write it",
                "fork before the transaction or after it, or start processes by spawn",
            )
        process = os.getpid()
        connection.execute("BEGIN IMMEDIATE")
        self._depth = 1
        try:
            if self._was_replaced():
                raise self._taken_away()
            yield
            if os.getpid() == process:
                connection.execute("COMMIT")
                self._committed()
        finally:
            # A forked process that comes here must not touch what is its parent's.
            if os.getpid() == process:
                self._depth = 0
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                    self._rolled_back(connection)

    def _taken_away(self) -> MmmetaError:
        return self.error("was taken away or replaced while this waited for it", "try again")

    def exists(self) -> bool:
        """Whether the file is there.

        Raises:
            MmmetaError: nobody may look.
        """
        try:
            return self.path.exists()
        except OSError as error:
            raise self.error(f"cannot be looked for: {error.strerror}", remedy_of(error)) from error

    def is_sound(self) -> bool:
        """Whether the file is whole as far as SQLite can tell; reads all of it."""
        return self.why_damaged() is None

    def why_damaged(self) -> str | None:
        """What is wrong with the file, as far as that can be told without knowing what it is for; reads all of it, twice
        where it finds something, for SQLite takes what a disk did not give for damage."""
        return self._look_at_all() and self._look_at_all()

    def _look_at_all(self) -> str | None:
        try:
            reader = self._take_reader()
            try:
                return why_not_whole(reader.connection)
            finally:
                self._close(reader.connection, reader.identity)  # which may remember what it met
        except (MmmetaError, sqlite3.Error, UnicodeDecodeError) as error:
            if was_interrupted(error) and not self._took_too_long():
                raise KeyboardInterrupt from error
            return None if is_busy(error) else words_of(error)

    def close(self) -> None:
        """Close all connections; the next use opens new ones."""
        self._forget_after_fork()
        self._readers.close()
        with self._writing:
            if not self._depth:
                self._drop_writer()

    # While the process forks; see ``forks``

    def close_idle(self) -> None:
        """Close what nobody uses now; the next use opens it again."""
        if self._pid != os.getpid():
            return
        self._readers.close()
        if self._writing.acquire(blocking=False):
            try:
                if not self._depth:
                    self._drop_writer()
            finally:
                self._writing.release()

    def open_transaction(self) -> Identity | None:
        """The file that a transaction is open on; None if none is."""
        return self._writer_identity if self._depth else None

    def __del__(self) -> None:
        # Whoever forgets close() shall not get warnings of unclosed connections.
        with suppress(Exception):
            self.close()

    # Connections

    def _connect(self, kind: str) -> Connection:
        self._require_plain(*SUFFIXES)
        return connect(self.path, kind, self._set_journal)

    def _require_plain(self, *suffixes: str) -> None:
        """SQLite itself would follow a link that a sync has brought, and wait for ever at a pipe."""
        for suffix in suffixes:
            path = Path(f"{self.path}{suffix}") if suffix else self.path
            try:
                require_plain(path)
            except OSError as error:
                raise self.error(f"cannot be used: {error.strerror}", LINKS) from error

    def _take_reader(self) -> Reader:
        return self._readers.take(self._identity()) or self._open_reader()

    def _give_back(self, reader: Reader) -> None:
        if not self._readers.keep(reader):
            self._close(reader.connection, reader.identity)

    def _write_connection(self) -> sqlite3.Connection:
        if self._writer is not None and (self._distrusted or self._writer_is_stale()):
            # A restored backup or a sync: what is written into the old file would be lost, and what is remembered of an
            # overwritten one may be wrong.
            self._drop_writer()
        if self._writer is None:
            self._require_plain("")
            try:
                self._make_folder()
            except OSError as error:
                raise self.error(f"cannot be made: {error.strerror} ({error.filename})", remedy_of(error)) from error
            self._open_writer()
        assert self._writer is not None
        return self._writer

    def _drop_writer(self) -> None:
        if self._writer is not None:
            self._close(self._writer, self._writer_identity)
            self._writer = self._writer_identity = None
        self._distrusted = False

    def _was_replaced(self) -> bool:
        """Whether another file is where the writing connection's was, or none."""
        try:
            return self._identity() != self._writer_identity
        except MmmetaError:
            return True

    def _identity(self) -> Identity:
        self._require_plain("")
        try:
            status = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            raise self._missing() from None
        except OSError as error:
            raise self.error(f"cannot be opened: {error.strerror}", remedy_of(error)) from error
        if stat.S_ISDIR(status.st_mode):
            raise self.error("is a folder, not a file", "check the path")
        return status.st_dev, status.st_ino

    def _forget_after_fork(self) -> None:
        """A connection must not cross a fork: the child drops what it inherited, unclosed, and opens its own."""
        if self._pid != os.getpid():
            _INHERITED.extend([self._readers, self._writer])
            self._writing = threading.RLock()
            self._readers = Readers()
            self._writer = self._writer_identity = None
            self._depth = 0
            self._pid = os.getpid()

    # Errors

    @contextmanager
    def _translated(
        self, blame: Callable[[Exception], Database] | None = None, *, reading: bool = False
    ) -> Iterator[None]:
        """Errors of SQLite as errors of mmmeta, and what Python stumbles over where the file is to blame.

        Args:
            blame: which file an error is about, where there is more than this one.
        """
        try:
            yield
        except (sqlite3.Error, *STUMBLES) as error:
            if isinstance(error, MmmetaError):
                raise
            if was_interrupted(error) and not self._took_too_long():
                # SQLite hands on no exception; what a signal's handler raises here is nearly always this.
                raise KeyboardInterrupt from error
            blamed = self if blame is None else blame(error)
            if isinstance(error, sqlite3.Error):
                if not reading and "readonly" in str(error):
                    self._distrusted = True  # SQLite stays with reading, whatever the reason was
                raise blamed._translate(error, reading=reading) from error
            if (reason := blamed.why_damaged()) is None:
                raise
            raise blamed.damaged(reason) from error

    def _translate(self, error: sqlite3.Error, *, reading: bool) -> MmmetaError:
        text = words_of(error)
        if is_busy(error):
            return self.error(f"is being written by another process for more than {BUSY_TIMEOUT:.0f} s", "try again")
        if not reading and "disk I/O" in text and self._writer is not None and self._was_replaced():
            return self._taken_away()  # between two looks at it
        if "full" in text:
            return self.error(
                f"cannot grow: {text}", "make room on the disk, or where temporary files lie (SQLITE_TMPDIR)"
            )
        own = self._own_error() if reading or self.read_only else None
        if own is not None:
            return own
        if was_interrupted(error):
            return self.damaged("to read it takes more steps than anything of its size can")
        if tells_damage(error):
            return self._damaged(error, text)
        if "unable to open" in text:
            what = "cannot be opened for reading" if reading else f"cannot be used: {text}"
            return self.error(*why_not_opened(self.path, what, write=not reading))
        if "disk I/O" in text:
            return self.error(f"cannot be {'read' if reading else 'written'}: {text}", DISK)
        if "readonly" in text and not may_use(self.path, write=not reading):
            # Said also to those who only want to see what a transaction would give.
            return self.error("cannot be opened for reading" if reading else "may only be read here", PERMISSIONS)
        if "readonly" in text:  # SQLite takes to reading where it could not open a file to write, whatever the reason
            return self.error(f"could not be opened for writing: {text}", OPENING)
        return self.error(f"cannot be used: {text}")

    def _damaged(self, error: sqlite3.Error, text: str) -> MmmetaError:
        """SQLite takes what a disk could not read for damage; a person must not move a sound file away for that."""
        if isinstance(error, Damage):
            return self.damaged(text)
        found = self.why_damaged()
        if found is not None and words_tell_place(found):
            return self.error(f"cannot be read: {text}", DISK)
        if found is not None and size_of(self.path):  # an empty one, just begun, has nothing that could be damaged
            return self.damaged(text)
        return self.error(f"could not be read and is sound now ({text})", DISK)
