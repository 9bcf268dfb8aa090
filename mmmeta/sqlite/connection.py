"""One connection to an SQLite file as mmmeta wants it: flushing, and nothing that a file could make SQLite do."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

from mmmeta.clock import moment

BUSY_TIMEOUT = 120.0
"""Seconds that a statement waits for another process's transaction before it gives up."""


STEPS_AT_ONCE = 1_000_000
"""Steps of SQLite between two looks at what else there is; some ten milliseconds."""

STEPS, STEPS_PER_BYTE = 50_000_000, 2_000
"""Steps that reading a database may take: a hundred times what it takes to go through rows of a thousand empty columns.
Pages that lead to each other in a circle have no end."""


class Connection(sqlite3.Connection):
    """A connection that can be interrupted while SQLite is at work, and that does not work without an end."""

    _left: int | None = None
    _exceeded: Callable[[], None]

    def watch(self) -> None:
        """Begin to look, now and then, whether a signal came: its handler runs when Python does, and what the handler
        raises ends the statement."""
        self.set_progress_handler(self._look, STEPS_AT_ONCE)

    def allow(self, size: int, exceeded: Callable[[], None]) -> None:
        """Let what follows take as many steps as databases of so many bytes together can need; the statement that takes
        more is ended, and ``exceeded`` is called before."""
        self._left = (STEPS + STEPS_PER_BYTE * size) // STEPS_AT_ONCE
        self._exceeded = exceeded

    def allow_all(self) -> None:
        """Let what follows take any number of steps."""
        self._left = None

    def _look(self) -> bool:
        if self._left is None:
            return False
        self._left -= 1
        if self._left < 0:
            self._exceeded()
        return self._left < 0


def was_interrupted(error: Exception) -> bool:
    """Whether a statement was ended from outside: by the handler of a signal, or for taking too many steps."""
    return isinstance(error, sqlite3.OperationalError) and str(error) == "interrupted"


def connect(path: Path, kind: str, prepare: Callable[[sqlite3.Connection], None]) -> Connection:
    """A connection of a kind: ``rwc``, which writes and makes the file; ``ro``; ``rw``, which only reads as well, but rolls
    back what a killed writer left; or ``immutable`` for a file without its write-ahead log.

    Args:
        prepare: called with a connection that may write, for its journal.
    """
    connection = sqlite3.connect(
        uri_of(path, kind),
        uri=True,
        timeout=BUSY_TIMEOUT,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
        factory=Connection,
    )
    try:
        connection.watch()
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA cell_size_check=ON")
        connection.execute("PRAGMA cache_size=-32768")
        if kind != "rwc":
            connection.execute("PRAGMA query_only=ON")
        else:
            prepare(connection)
            connection.execute("PRAGMA synchronous=FULL")
        connection.create_function("mmmeta_moment", 1, moment, deterministic=True)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def tables_in(path: Path) -> frozenset[str] | None:
    """Names of the tables of a file as it lies there, without what is beside it; None where that cannot be told.

    Nothing is made or locked by it, also where another program's database wants its files beside it.
    """
    try:
        with closing(sqlite3.connect(uri_of(path, "immutable"), uri=True)) as connection:
            return frozenset(
                name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            )
    except (sqlite3.Error, UnicodeDecodeError):
        return None


def uri_of(path: Path, kind: str) -> str:
    """The path as SQLite wants it; three slashes, so that a path that begins with two is not taken for a host."""
    mode = {"rwc": "mode=rwc", "rw": "mode=rw", "ro": "mode=ro", "immutable": "mode=ro&immutable=1"}[kind]
    return f"file://{quote(os.fsencode(path))}?{mode}"


def size_of(path: Path) -> int:
    """Bytes of a file; 0 where it cannot be looked at."""
    with suppress(OSError):
        return path.stat().st_size
    return 0


def set_journal_mode(connection: sqlite3.Connection, mode: str) -> None:
    """Change the journal mode; here SQLite does not wait for another process that does the same just now."""
    give_up = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            connection.execute(f"PRAGMA journal_mode={mode}")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > give_up:
                raise
            time.sleep(0.01)
