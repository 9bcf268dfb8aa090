"""Opens meta.db and the state db: the one place that knows connections, journal modes and transactions.

A ``Database`` keeps one writing connection, handed out to one thread at a time, and a few reading ones, so that a loop
over files and a ``save()`` within it do not get in each other's way. Errors of SQLite come out as errors of mmmeta that
say which file and what to do.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mmmeta.clock import moment
from mmmeta.errors import HotJournalError, MetadataDbError, MetadirNotFoundError, MmmetaError, StateDbError

BUSY_TIMEOUT = 120.0
"""Seconds that a statement waits for another process's transaction before it gives up."""

_IDLE_READERS = 4
"""Reading connections kept open for the next read; more are closed when given back."""

_HEADER = b"SQLite format 3\x00"


def quote_identifier(name: str) -> str:
    """A table or column name for SQL; any text is safe."""
    return '"' + name.replace('"', '""') + '"'


class Database:
    """One SQLite file.

    Args:
        path: the file.
        role: ``"metadata"`` (rollback journal: one file at rest, safe to copy) or ``"state"`` (WAL, every commit flushed).
        read_only: never create or change anything; meta.db as a client opens it.
    """

    def __init__(self, path: Path, *, role: str, read_only: bool = False) -> None:
        self.path = path
        self.role = role
        self.read_only = read_only
        self._lock = threading.RLock()
        self._readers: list[tuple[sqlite3.Connection, tuple[int, int]]] = []
        self._writer: sqlite3.Connection | None = None
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
        with self._translated():
            connection, identity = self._take_reader()
            try:
                yield connection
            finally:
                with self._lock:
                    if len(self._readers) < _IDLE_READERS:
                        self._readers.append((connection, identity))
                    else:
                        connection.close()

    @contextmanager
    def atomic(self, *, attach: Path | None = None) -> Iterator[sqlite3.Connection]:
        """A transaction on the writing connection: committed at the end, rolled back on any error; nests by joining.

        Args:
            attach: another database, readable in this transaction as schema ``remote``; it is opened read-only.
        """
        self._forget_after_fork()
        with self._lock, self._translated():
            connection = self._write_connection()
            if self._depth:
                yield connection
                return
            if attach is not None:
                connection.execute("ATTACH ? AS remote", (f"file:{quote(str(attach))}?mode=ro",))
            try:
                connection.execute("BEGIN IMMEDIATE")
                self._depth = 1
                try:
                    yield connection
                    connection.execute("COMMIT")
                finally:
                    self._depth = 0
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
            finally:
                if attach is not None:
                    connection.execute("DETACH remote")

    def in_transaction(self) -> bool:
        """Whether this thread is inside ``atomic()``."""
        return self._depth > 0

    def exists(self) -> bool:
        """Whether the file is there."""
        return self.path.exists()

    def recover(self) -> None:
        """Roll back what a killed writer left behind; SQLite does so when a writer reads."""
        with self._lock, self._translated():
            self._write_connection().execute("SELECT count(*) FROM sqlite_master").fetchone()

    def close(self) -> None:
        """Close all connections; the next use opens new ones."""
        with self._lock:
            for connection, _ in self._readers:
                connection.close()
            self._readers.clear()
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def _take_reader(self) -> tuple[sqlite3.Connection, tuple[int, int]]:
        identity = self._identity()
        with self._lock:
            while self._readers:
                connection, seen = self._readers.pop()
                if seen == identity:
                    return connection, identity
                connection.close()  # a sync tool put a new file in its place
        return self._connect(read_only=True), identity

    def _identity(self) -> tuple[int, int]:
        try:
            status = self.path.stat()
        except FileNotFoundError:
            if self.role == "metadata":
                raise MetadirNotFoundError(
                    f"no metadata db at {self.path}: sync the metadir first, run `mmmeta generate` at the server, "
                    "or check the path"
                ) from None
            raise StateDbError(f"no state db at {self.path}: run `mmmeta update` first") from None
        except OSError as error:
            raise self._error(f"cannot be opened: {error.strerror}") from error
        return status.st_dev, status.st_ino

    def _write_connection(self) -> sqlite3.Connection:
        if self.read_only:
            raise self._error("was opened for reading only")
        if self._writer is None:
            self._writer = self._connect(read_only=False)
        return self._writer

    def _connect(self, *, read_only: bool) -> sqlite3.Connection:
        mode = "ro" if read_only else "rwc"
        if read_only and self.role == "metadata":
            self._check_header()
        elif not read_only:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            f"file:{quote(str(self.path))}?mode={mode}",
            uri=True,
            timeout=BUSY_TIMEOUT,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        try:
            connection.execute("PRAGMA trusted_schema=OFF")
            connection.execute("PRAGMA cell_size_check=ON")
            connection.execute("PRAGMA cache_size=-32768")
            if read_only:
                connection.execute("PRAGMA query_only=ON")
            elif self.role == "state":
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=FULL")
            else:
                connection.execute("PRAGMA journal_mode=DELETE")
                connection.execute("PRAGMA synchronous=FULL")
            connection.create_function("mmmeta_moment", 1, moment, deterministic=True)
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _check_header(self) -> None:
        """Recognise what a sync tool may have left: not SQLite, nothing in it, or cut short."""
        size = self.path.stat().st_size
        if size == 0:
            raise self._error("is empty: the sync or the first generate did not finish")
        with self.path.open("rb") as file:
            header = file.read(100)
        if not header.startswith(_HEADER):
            raise self._error("is not an SQLite database")
        if len(header) < 100:
            raise self._error(f"is cut short: {size} bytes are not even a header")
        page_size = int.from_bytes(header[16:18], "big")
        pages = int.from_bytes(header[28:32], "big")
        expected = (65_536 if page_size == 1 else page_size) * pages
        if header[24:28] == header[92:96] and size < expected:
            raise self._error(f"is cut short: {size} of {expected} bytes")

    def _forget_after_fork(self) -> None:
        """A connection must not cross a fork: the child drops what it inherited, unclosed, and opens its own."""
        if self._pid != os.getpid():
            self._lock = threading.RLock()
            self._readers = []
            self._writer = None
            self._depth = 0
            self._pid = os.getpid()

    def _error(self, reason: str) -> MmmetaError:
        if self.role == "metadata":
            return MetadataDbError(f"metadata db {self.path} {reason}; sync the metadir again")
        return StateDbError(f"state db {self.path} {reason}")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._translate(error) from error

    def _translate(self, error: sqlite3.Error) -> MmmetaError:
        text = str(error)
        journal = self.path.with_name(self.path.name + "-journal")
        if self.role == "metadata" and _size(journal):
            return HotJournalError(
                f"metadata db {self.path} comes with the journal of an unfinished write ({journal.name}). At the server "
                "run `mmmeta generate`, which recovers it; at a client sync the metadir again"
            )
        if "locked" in text or "busy" in text:
            return self._error(f"is being written by another process for more than {BUSY_TIMEOUT:.0f} s; try again")
        if isinstance(error, sqlite3.DatabaseError) and ("malformed" in text or "not a database" in text):
            return self._error(f"is damaged or was copied while it was written ({text})")
        if "full" in text:
            return self._error(f"cannot grow: {text}")
        return self._error(f"cannot be used: {text}")


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0


def execute_in_chunks(
    connection: sqlite3.Connection, sql: str, values: Sequence[Any], size: int = 500
) -> Iterator[tuple[Any, ...]]:
    """Run ``sql`` with ``{}`` replaced by so many ``?`` as there are values, a chunk at a time; yields the rows."""
    for start in range(0, len(values), size):
        chunk = values[start : start + size]
        yield from connection.execute(sql.format(", ".join("?" * len(chunk))), chunk).fetchall()
