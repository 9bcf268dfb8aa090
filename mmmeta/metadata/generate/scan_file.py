"""scan.db as a file: opened, made anew where it is damaged, and asked. What it remembers is ``memory``'s."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from mmmeta.errors import MmmetaError
from mmmeta.sqlite.connection import BUSY_TIMEOUT
from mmmeta.sqlite.statements import quote_identifier

_ERRORS = (sqlite3.Error, UnicodeDecodeError, OverflowError)
"""What SQLite raises over a damaged file; a schema that is not text makes it stumble over its own message."""

BATCH = 1_000
"""Rows that are read or written at once."""

_NOT_TEXT = "Could not decode"
_OUTER_REASONS = ("locked", "unable to open", "readonly", "full", "disk I/O")
"""Words of errors that say nothing about the file's content."""

_SCHEMA = (
    "CREATE TABLE info (name TEXT PRIMARY KEY NOT NULL, value) WITHOUT ROWID",
    "CREATE TABLE seen (path BLOB PRIMARY KEY NOT NULL, size, mtime, ctime, inode, file TEXT, document BLOB) WITHOUT ROWID",
    "CREATE TABLE documents (path BLOB PRIMARY KEY NOT NULL, size, mtime, ctime, inode, digests TEXT) WITHOUT ROWID",
    "CREATE TABLE lines (path BLOB NOT NULL, file TEXT NOT NULL, line INTEGER NOT NULL, PRIMARY KEY (path, file, line)) "
    "WITHOUT ROWID",
    "CREATE TABLE tallies (path BLOB PRIMARY KEY NOT NULL, records INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE line_documents (document BLOB NOT NULL, path BLOB NOT NULL, PRIMARY KEY (document, path)) WITHOUT ROWID",
)
_NAMES = {"info", "seen", "documents", "lines", "tallies", "line_documents"}

_COLUMNS = "path, size, mtime, ctime, inode, file, document"


class ScanDbError(MmmetaError):
    """scan.db cannot be used. It is only a memory: where ``damaged`` is true, throw it away and begin again."""

    def __init__(self, path: Path, error: Exception) -> None:
        text = str(error)
        self.damaged: bool = _NOT_TEXT in text or not any(word in text for word in _OUTER_REASONS)
        super().__init__(
            f"another generate is writing {path.parent.parent}: {error}; try again"
            if "locked" in text and not self.damaged
            else f"{path} cannot be used: {error}"
        )


class ScanFile:
    """The connection; every error of it is a ``ScanDbError``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = self._open()

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
                rows = cursor.fetchmany(BATCH)
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
            if _tables(connection) != _NAMES:
                # Looked at again inside the transaction: another generate may be making them just now.
                connection.execute("BEGIN IMMEDIATE")
                names = _tables(connection)
                if names != _NAMES:
                    for name in names:
                        connection.execute(f"DROP TABLE {quote_identifier(name)}")
                    for sql in _SCHEMA:
                        connection.execute(sql)
                connection.execute("COMMIT")
            connection.execute("SELECT count(*) FROM info").fetchone()
            connection.execute(f"SELECT {_COLUMNS} FROM seen LIMIT 1").fetchone()
            connection.execute("SELECT path, size, mtime, ctime, inode, digests FROM documents LIMIT 1").fetchone()
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
