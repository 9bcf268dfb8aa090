"""The state db as a file: WAL, every commit flushed, read where its folder cannot be written, merged into from meta.db."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmmeta.errors import MmmetaError, StateDbError
from mmmeta.metadata.database import MetadataDatabase
from mmmeta.sqlite.connection import Connection, set_journal_mode, size_of, was_interrupted
from mmmeta.sqlite.damage import Damage, tells_place
from mmmeta.sqlite.database import Database
from mmmeta.sqlite.forks import inside
from mmmeta.writing import make_folder

__all__ = ["StateDatabase"]

_PAGES_OF_LOG = 16_000
"""Before the log is copied back into the file; the usual 1,000 make every tenth batch of a job wait."""


class StateDatabase(Database):
    """The state db's file."""

    @contextmanager
    def atomic(self, *, existing: bool = False) -> Iterator[sqlite3.Connection]:
        """A transaction, as of any database.

        Args:
            existing: make no new file where there is none, for it would be empty.

        Raises:
            StateDbError: it cannot be used, or was removed although it has to be there.
        """
        self._forget_after_fork()
        with self._writing:
            if existing and not self._depth and not self.exists():
                raise self.error("is gone: it was removed while it was in use", "`mmmeta update` makes it anew")
            with super().atomic() as connection:
                yield connection

    def vacuum(self) -> None:
        """Write the file anew without what is free in it, and cut the log; needs room for a copy of it, for a while.

        Raises:
            StateDbError: there is no room, or it is in use. It is then as it was.
        """
        self._forget_after_fork()
        with self._writing, inside(), self._translated():
            assert not self._depth, "a transaction that has begun cannot vacuum"
            connection = self._write_connection()
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    @contextmanager
    def merging(self, metadata: MetadataDatabase) -> Iterator[sqlite3.Connection]:
        """A transaction in which the metadata db is readable as schema ``remote``; the outermost one.

        Raises:
            StateDbError, MetadataDbError, MetadirNotFoundError: one of the two cannot be used; the one to blame is named.
        """
        self._forget_after_fork()
        with self._writing, inside():
            assert not self._depth, "a transaction that has begun cannot attach a database"
            with self._translated(lambda error: self._blamed(error, metadata)):
                connection = self._write_connection()
                with self._attached(connection, metadata), self._transaction(connection):
                    yield connection

    @contextmanager
    def _attached(self, connection: sqlite3.Connection, metadata: MetadataDatabase) -> Iterator[None]:
        with metadata.lent() as uri:
            connection.execute("ATTACH ? AS remote", (uri,))
            assert isinstance(connection, Connection)
            connection.allow(sum(map(size_of, (self.path, metadata.path))), self._note_excess)
            try:
                yield
            finally:
                connection.allow_all()
                try:
                    connection.execute("DETACH remote")
                except sqlite3.OperationalError:
                    # The error on its way keeps a statement open; what it says must not get lost over this.
                    self._drop_writer()

    def _blamed(self, error: Exception, metadata: MetadataDatabase) -> Database:
        """One transaction, two files: SQLite does not say which of them it stumbled over."""
        if was_interrupted(error):
            return metadata
        if isinstance(error, Damage):
            return metadata if error.schema == "remote" else self
        if tells_place(error) and not _may_be_read_error(error):
            return self  # the one that is written
        if not metadata.is_sound():
            return metadata
        # Where neither shows it, the one that was brought by a sync.
        return metadata if self.is_sound() else self

    # Connections

    def _make_folder(self) -> None:
        make_folder(self.path.parent)

    def _set_journal(self, connection: sqlite3.Connection) -> None:
        set_journal_mode(connection, "WAL")
        connection.execute(f"PRAGMA wal_autocheckpoint={_PAGES_OF_LOG}")

    def _kind_to_read(self) -> str:
        return kind_to_read(self.path)

    # Errors

    def error(self, reason: str, remedy: str | None = None) -> MmmetaError:
        return StateDbError(f"state db {self.path} {reason}{'' if remedy is None else f'; {remedy}'}")

    def damaged(self, reason: str) -> MmmetaError:
        return self.error(
            f"is damaged ({reason})",
            "run `mmmeta update --replace`, which writes anew what came from the remote; if that fails, restore it from a "
            "backup, or move it away and update: what was set here and what the jobs have done is then forgotten",
        )

    def _missing(self) -> MmmetaError:
        return StateDbError(f"no state db at {self.path}: run `mmmeta update` first")


def kind_to_read(path: Path) -> str:
    """How to open a state db for reading: ``rw``, or ``immutable`` or ``ro`` where its folder cannot be written.

    A process that was killed while it made the file has left a journal, before the file was in WAL mode; who may write rolls
    that back, whatever he came for. In WAL mode even a reader needs the two files beside the database, and makes them where they are missing. Where that is
    not allowed, a database that was closed is read by itself: all of it is in the one file, and nobody uses it now.
    """
    log, index = (path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))
    if os.access(path.parent, os.W_OK):
        return "rw"
    if not log.exists() or (not log.stat().st_size and not index.exists()):
        return "immutable"
    return "ro"


def _may_be_read_error(error: Exception) -> bool:
    """Whether a disk could not be read, be it the other file's; before Python 3.11 SQLite's reason is not told."""
    return "disk I/O" in str(error) and "READ" in getattr(error, "sqlite_errorname", "READ")
