"""One connection to an SQLite file as mmmeta wants it: flushing, and nothing that a file could make SQLite do."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from mmmeta.clock import moment

BUSY_TIMEOUT = 120.0
"""Seconds that a statement waits for another process's transaction before it gives up."""


def connect(path: Path, kind: str, prepare: Callable[[sqlite3.Connection], None]) -> sqlite3.Connection:
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
    )
    try:
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
