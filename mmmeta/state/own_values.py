"""What the client has set, in the state db: written file by file, and brought from where several clients share it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from mmmeta.catalog.columns import CLIENT, REMOTE, KeyColumns
from mmmeta.catalog.tables import read_info, write_info
from mmmeta.sqlite.statements import quote_identifier
from mmmeta.state.database import StateDatabase
from mmmeta.state.db import Merged, next_state_revision, read_merged
from mmmeta.state.ledger.store import LedgerStore, OwnChange, OwnValues

SHARED_WITH, WAITING = "own_of", "own_waiting"
"""Entries of the table ``info``: the ledger that own values were brought from, and files whose values came before them."""

_AT_ONCE = 1_000


class OwnColumns:
    """The client's own columns, to be written in one transaction."""

    def __init__(self, connection: sqlite3.Connection, unique: str) -> None:
        self._connection = connection
        self._unique_sql = KeyColumns.load(connection, REMOTE, unique).unique_sql
        self._columns = KeyColumns.load(connection, CLIENT, unique)

    def read(self, file: str) -> dict[str, Any] | None:
        """What is set of a file; None if the state db has no such file."""
        names = ", ".join(["__local_types", "__local_more", *self._columns.sql])
        sql = f"SELECT {names} FROM files WHERE {self._unique_sql} = ?"
        row = self._connection.execute(sql, (file,)).fetchone()
        return None if row is None else self._columns.decode(row[2:], row[0], row[1])

    def all(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """What is set of each file of which anything is."""
        columns = self._columns
        if not columns.slots:
            return
        marks = ["__local_types", "__local_more"]
        some = " OR ".join(f"{name} IS NOT NULL" for name in marks + columns.sql[:_AT_ONCE])
        names = ", ".join([self._unique_sql, *marks, *columns.sql])
        for row in self._connection.execute(f"SELECT {names} FROM files WHERE {some}"):
            yield row[0], columns.decode(row[3:], row[1], row[2])

    def write(self, file: str, values: Mapping[str, Any], written: Collection[str], now: str) -> int:
        """Write what is set of a file, of which ``written`` keys are other ones than before; the state revision that this
        takes."""
        columns = self._columns
        cells, types, more = columns.encode(dict(values))
        columns.flush()
        assignments = ["__local_types = ?", "__local_more = ?", "__state_last_updated = ?", "__state_rev = ?"]
        revision = next_state_revision(self._connection)
        parameters: list[Any] = [types, more, now, revision]
        for key in sorted(key for key in written if key in columns.slots):
            slot = columns.slots[key]
            if slot.column is not None and slot.position is not None:
                assignments.append(f"{quote_identifier(slot.column)} = ?")
                parameters.append(cells[slot.position])
        self._connection.execute(
            f"UPDATE files SET {', '.join(assignments)} WHERE {self._unique_sql} = ?", (*parameters, file)
        )
        return revision


def save_local(
    connection: sqlite3.Connection,
    unique: str,
    file: str,
    changes: dict[str, Any],
    removed: set[str],
    now: str,
) -> int | None:
    """Write the client's own fields of one file, the given ones only; the state revision that this took, None if the
    state db has no such file."""
    columns = OwnColumns(connection, unique)
    values = columns.read(file)
    if values is None:
        return None
    values.update(changes)
    for key in removed:
        values.pop(key, None)
    return columns.write(file, values, {*changes, *removed}, now)


def bring_own_values(database: StateDatabase, ledger: LedgerStore, own: OwnValues, now: str) -> None:
    """Bring to the state db what clients have set since the last time; nothing is written where that is nothing.

    What was set here before it was shared is shared first. Values of files that are not here yet come with them.
    """
    shared_with = ledger.identity()
    reached = own.revision()
    with database.reading() as connection:
        info, merged = read_info(connection), read_merged(connection, database)
        assert merged is not None
        is_first = info.get(SHARED_WITH) != shared_with
        # Where less has happened there than was brought here, it was put back from a backup, and what is here is newer.
        is_ahead = not is_first and reached < merged.own_revision
        is_anew = is_first or is_ahead
        if is_anew:
            values = list(OwnColumns(connection, merged.unique).all())
            own.bring(values, as_of=merged.own_revision if is_ahead else 0)
            reached = own.revision()
    known = 0 if is_anew else merged.own_revision
    waiting: list[str] = [] if is_anew else json.loads(info.get(WAITING) or "[]")
    if not is_anew and reached == known and not _have_come(database, merged, waiting):
        return
    changes = list(own.since(known, waiting))
    if not is_anew:
        with database.reading() as connection:
            changes += own.removed_unseen(known, OwnColumns(connection, merged.unique).all())
    with database.atomic(existing=True) as connection:
        waiting = _write(connection, merged.unique, changes, now)
        write_info(connection, **{SHARED_WITH: shared_with, WAITING: json.dumps(waiting), "own_revision": reached})


def _have_come(database: StateDatabase, merged: Merged, names: list[str]) -> bool:
    """Whether one of the files whose values wait is here by now."""
    if not names:
        return False
    with database.reading() as connection:
        unique_sql = KeyColumns.load(connection, REMOTE, merged.unique).unique_sql
        sql = f"SELECT 1 FROM files WHERE {unique_sql} IN (SELECT value FROM json_each(?)) LIMIT 1"
        return connection.execute(sql, (json.dumps(names),)).fetchone() is not None


def _write(connection: sqlite3.Connection, unique: str, changes: list[OwnChange], now: str) -> list[str]:
    """Write what is another value than here; the files that are not here."""
    columns = OwnColumns(connection, unique)
    missing = []
    for change in changes:
        before = columns.read(change.file)
        if before is None:
            missing.append(change.file)
            continue
        after = {key: value for key, value in before.items() if key not in change.removed} | change.changed
        other = {key for key in {*before, *after} if not _same(before, after, key)}
        if other:
            columns.write(change.file, after, other, now)
    return missing


def _same(before: Mapping[str, Any], after: Mapping[str, Any], key: str) -> bool:
    """By type as well: 1, 1.0 and true are three values."""
    return key in before and key in after and json.dumps(before[key]) == json.dumps(after[key])
