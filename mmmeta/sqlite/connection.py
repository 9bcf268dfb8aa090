"""One connection to an SQLite file as mmmeta wants it: journal modes, flushing, and nothing that a file could make SQLite do."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from urllib.parse import quote

from mmmeta.clock import moment

BUSY_TIMEOUT = 120.0
"""Seconds that a statement waits for another process's transaction before it gives up."""


def quote_identifier(name: str) -> str:
    """A table or column name for SQL; any text is safe."""
    return '"' + name.replace('"', '""') + '"'


def connect(path: Path, kind: str, role: str) -> sqlite3.Connection:
    """A connection of a kind: ``rwc``, ``ro``, or ``immutable`` for a file without its write-ahead log."""
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
            # Another program's database in WAL mode is refused later on, and left as it is.
            if role == "state" or _is_ours(connection):
                _set_journal_mode(connection, "WAL" if role == "state" else "DELETE")
            connection.execute("PRAGMA synchronous=FULL")
            if role == "state":
                # Pages of the log before it is copied back; the usual 1,000 make every tenth batch of a job wait.
                connection.execute("PRAGMA wal_autocheckpoint=16000")
        connection.create_function("mmmeta_moment", 1, moment, deterministic=True)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def uri_of(path: Path, kind: str) -> str:
    """The path as SQLite wants it; three slashes, so that a path that begins with two is not taken for a host."""
    mode = {"rwc": "mode=rwc", "ro": "mode=ro", "immutable": "mode=ro&immutable=1"}[kind]
    return f"file://{quote(os.fsencode(path))}?{mode}"


def kind_to_read(path: Path) -> str:
    """How to open a state db for reading: ``ro``, or ``immutable`` where its folder cannot be written.

    In WAL mode even a reader needs the two files beside the database, and makes them where they are missing. Where that is
    not allowed, a database that was closed is read by itself: all of it is in the one file, and nobody uses it now.
    """
    log, index = (path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))
    if os.access(path.parent, os.W_OK):
        return "ro"
    if not log.exists() or (not log.stat().st_size and not index.exists()):
        return "immutable"
    return "ro"


def _is_ours(connection: sqlite3.Connection) -> bool:
    """Whether this is a metadata db, as far as its table ``info`` tells."""
    columns = {name for (name,) in connection.execute("SELECT name FROM pragma_table_info('info')")}
    if not {"name", "value"} <= columns:
        return False
    return bool(connection.execute("SELECT value FROM info WHERE name = 'role'").fetchone() == ("metadata",))


def _set_journal_mode(connection: sqlite3.Connection, mode: str) -> None:
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
