"""Reading a database that another program wrote, without touching it.

A program that was not closed properly leaves what is new in the write-ahead log beside the file, and opening the file would
put the log into it. So both are copied away first, and the copy is opened.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from mmmeta.errors import MmmetaError, remedy_of
from mmmeta.layout import open_plain, require_plain
from mmmeta.sqlite.connection import uri_of
from mmmeta.sqlite.damage import why_not_whole, words_of
from mmmeta.sqlite.headers import IN_USE, is_sqlite, stamp_of
from mmmeta.sqlite.statements import quote_identifier

LOGS = ("-wal", "-journal")
"""What SQLite needs beside a file to read all that was written; ``-shm`` it makes anew."""

_TRIES = 5
"""Copies that are taken until none of the files was written meanwhile."""


class ForeignDatabaseError(MmmetaError):
    """Another program's database cannot be read. The message says which and why; restore it, or let its program close it."""


@dataclass(frozen=True)
class Column:
    """A column of a table: its name, the type that it was declared with, in capitals, and whether it is part of the key."""

    name: str
    declared: str
    is_key: bool


class ForeignDatabase:
    """A private copy of another program's database.

    Attributes:
        path: of the original.
        tables: names of its tables.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self.tables: frozenset[str] = frozenset(
            str(name) for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        )

    def columns(self, table: str) -> list[Column]:
        """The columns of a table, in their order."""
        rows = self._connection.execute(f"PRAGMA table_info({quote_identifier(table)})")
        return [Column(str(row[1]), str(row[2] or "").upper(), bool(row[5])) for row in rows]

    def rows(self, table: str) -> Iterator[tuple[object, ...]]:
        """The rows of a table as they lie there, in the order in which they were made as far as the table knows it."""
        yield from self._connection.execute(f"SELECT * FROM {quote_identifier(table)}")


@contextmanager
def foreign_database(path: Path) -> Iterator[ForeignDatabase]:
    """A private copy of a database and its log, which is gone after the block; the original is only read.

    Raises:
        ForeignDatabaseError: there is none, it is damaged, or is being written all the time.
    """
    with tempfile.TemporaryDirectory(prefix="mmmeta-") as folder:
        copy = Path(folder) / path.name
        _copy(path, copy)
        try:
            with closing(sqlite3.connect(uri_of(copy, "rw"), uri=True, isolation_level=None)) as connection:
                connection.execute("PRAGMA trusted_schema=OFF")
                connection.execute("PRAGMA cell_size_check=ON")
                reason = why_not_whole(connection)
                if reason is not None:
                    raise ForeignDatabaseError(f"{path} is damaged: {reason}; restore it from a backup")
                yield ForeignDatabase(path, connection)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise ForeignDatabaseError(
                f"{path} cannot be read: {words_of(error)}; restore it from a backup, or sync it again"
            ) from error


def _copy(path: Path, copy: Path) -> None:
    logs = [path.with_name(path.name + suffix) for suffix in LOGS]
    for _ in range(_TRIES):
        before = [stamp_of(file) for file in (path, *logs)]
        try:
            require_plain(path)
            _copy_one(path, copy)
            for log, suffix in zip(logs, LOGS, strict=True):
                copied = copy.with_name(copy.name + suffix)
                copied.unlink(missing_ok=True)
                if log.exists():
                    _copy_one(log, copied)
        except FileNotFoundError:
            continue  # its program has put the log away just now, or the file itself
        except OSError as error:
            raise ForeignDatabaseError(
                f"{path} cannot be read: {error.strerror or error}; {remedy_of(error)}"
            ) from error
        if before == [stamp_of(file) for file in (path, *logs)]:
            return
    raise ForeignDatabaseError(f"{path} is being written all the time: stop the program that writes it, and try again")


def _copy_one(path: Path, copy: Path) -> None:
    if path.suffix == ".db":
        with IN_USE.peek(path) as header:
            if header is not None and not is_sqlite(header):
                raise ForeignDatabaseError(f"{path} is no SQLite database; restore it from a backup, or sync it again")
    with os.fdopen(open_plain(path), "rb") as source, copy.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
