"""One end of a copy of a ledger: the state db's own file."""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from mmmeta.catalog.tables import read_info, table_names, write_info
from mmmeta.errors import StateDbError, remedy_of
from mmmeta.state.database import StateDatabase
from mmmeta.state.db import read_merged
from mmmeta.state.ledger.sqlite.names import TABLES
from mmmeta.state.ledger.sqlite.tables import INCOMPLETE
from mmmeta.state.ledger.transfer import (
    BATCH,
    LEDGER,
    OWN_VALUES,
    Heading,
    LedgerEnd,
    OwnFiles,
    Reading,
    Row,
    Section,
    Standing,
    freed,
)
from mmmeta.state.liveness import boot_id, boot_seconds, is_dead

_ENTRIES = ("id", "token_base", "own_revision", "hosts", "renaming")
"""Of the table ``info``."""


class SqliteReading(Reading):
    """A ledger in a state db, within a transaction that reads."""

    def __init__(self, connection: sqlite3.Connection, workers: Path, own: OwnFiles) -> None:
        self._connection = connection
        self._workers = workers
        self._own = own

    def heading(self) -> Heading:
        info = read_info(self._connection)
        jobs = [job for (job,) in self._connection.execute("SELECT job FROM jobs")]
        heard = (info["metadata_id"], info["revision"])
        entries = {name: info[name] for name in _ENTRIES if info.get(name) is not None}
        return Heading(entries, {job: heard for job in jobs if heard[0]})

    def rows(self, section: Section) -> Iterator[Row]:
        if section is OWN_VALUES:
            yield from self._own.rows(self._connection)
            return
        cursor = self._connection.execute(f"SELECT {', '.join(section.columns)} FROM {section.table}")
        while rows := cursor.fetchmany(BATCH):
            yield from map(freed, rows) if section is LEDGER else rows

    def pulse(self) -> Row:
        return (
            *self._connection.execute("SELECT value FROM info WHERE name = 'state_revision'").fetchone(),
            *self._connection.execute("SELECT max(id) FROM attempts").fetchone(),
            self._connection.execute("SELECT * FROM ledger_counts").fetchall(),
            self._connection.execute("SELECT * FROM jobs").fetchall(),
        )

    def is_at_work(self) -> bool:
        held = self._connection.execute(
            "SELECT DISTINCT worker FROM ledger INDEXED BY ledger_claimed WHERE job IN (SELECT job FROM jobs) "
            "AND status = 'claimed' AND boot = ? AND lease_until > ?",
            (boot_id(), boot_seconds()),
        )
        return any(worker is None or not is_dead(self._workers, worker) for (worker,) in held.fetchall())


class SqliteEnd(LedgerEnd):
    """A state db.

    Args:
        workers: folder of the workers' locks.
        own: the files beside it.
    """

    def __init__(self, database: StateDatabase, workers: Path, own: OwnFiles) -> None:
        self.shown: str = str(database.path)
        self._database = database
        self._workers = workers
        self._own = own

    def standing(self) -> Standing:
        if not self._database.exists():
            return Standing.MISSING
        with self._database.reading() as connection:
            if "info" in table_names(connection) and INCOMPLETE in read_info(connection):
                return Standing.INCOMPLETE
            merged = read_merged(connection, self._database)
            if merged is None or not merged.metadata_id:
                raise StateDbError(f"{self.shown} has merged nothing: remove it, or run `mmmeta update` with it")
            some = any(
                connection.execute(f"SELECT EXISTS (SELECT 1 FROM {table})").fetchone()[0]
                for table in TABLES
                if table != "ledger_counts"
            )
        return Standing.FULL if some else Standing.EMPTY

    @contextmanager
    def reading(self) -> Iterator[Reading]:
        with self._database.reading() as connection:
            connection.execute("BEGIN")
            try:
                yield SqliteReading(connection, self._workers, self._own)
            finally:
                connection.execute("ROLLBACK")

    def shared_with(self) -> str | None:
        with self._database.reading() as connection:
            return self._own.shared_with(connection)

    def fit(self, section: Section, row: Row) -> Row | None:
        return row

    def begin(self, heading: Heading, source: str) -> None:
        if self._database.exists():
            self._mark(self._database, heading, source)
            return
        # Marked before it has its name: one that is only merged looks like a ledger that knows nothing.
        beginning = f".{self._database.path.name[:40]}.copy-"
        _remove(self._database.path.parent, beginning)
        aside = StateDatabase(self._database.path.with_name(f"{beginning}{secrets.token_hex(6)}"))
        try:
            with closing(aside):
                self._own.make(aside)
                self._mark(aside, heading, source)
            os.replace(aside.path, self._database.path)
        except OSError as error:
            raise StateDbError(
                f"{self._database.path} cannot be written: {error.strerror}; {remedy_of(error)}"
            ) from error
        finally:
            _remove(self._database.path.parent, beginning)

    def _mark(self, database: StateDatabase, heading: Heading, source: str) -> None:
        with database.atomic() as connection:
            info = read_info(connection)
            newer = [
                rev for made, rev in heading.heard.values() if made == info["metadata_id"] and rev > info["revision"]
            ]
            if newer:
                raise StateDbError(
                    f"the ledger has heard of revision {max(newer)} of the metadata db, and what is merged in {self.shown} is "
                    f"revision {info['revision']}: sync and run `mmmeta update`, then copy"
                )
            write_info(connection, **{INCOMPLETE: source})
            for table in TABLES:
                connection.execute(f"DELETE FROM {table}")
            self._own.clear(connection)

    def write(self, section: Section, rows: Sequence[Row]) -> None:
        if section is OWN_VALUES:
            with self._database.atomic(existing=True) as connection:
                self._own.write(connection, rows)
            return
        columns = section.columns
        fixed = {"evaluated": "0", "selection_fingerprint": "?2"} if section.table == "jobs" else {}
        marks = [f"?{number}" for number in range(1, len(columns) + 1)]
        with self._database.atomic(existing=True) as connection:
            connection.executemany(
                f"INSERT INTO {section.table} ({', '.join((*columns, *fixed))}) "
                f"VALUES ({', '.join((*marks, *fixed.values()))})",
                rows,
            )

    def finish(self, heading: Heading) -> None:
        with self._database.atomic(existing=True) as connection:
            write_info(connection, **{name: heading.entries[name] for name in _ENTRIES if name in heading.entries})
            connection.execute("DELETE FROM info WHERE name = ?", (INCOMPLETE,))

    def close(self) -> None:
        self._database.close()


def _remove(folder: Path, beginning: str) -> None:
    """Take away what was made aside, by one that was killed, too."""
    with suppress(OSError):
        for left in folder.iterdir():
            if left.name.startswith(beginning):
                left.unlink(missing_ok=True)
