"""The cells of every file in the state db beside their fingerprint, for those who want to prove that they fit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mmmeta.catalog.columns import REMOTE, KeyColumns
from mmmeta.catalog.tables import STATE_SYSTEM
from mmmeta.fingerprints import deleted_fingerprint
from mmmeta.fingerprints import fingerprint as fingerprint_of
from mmmeta.state.database import StateDatabase

PRUNED = "pruned here"
"""Reason of a deleted file whose metadata ``prune`` has removed: nothing is left that could fit its fingerprint."""


class FileCells(NamedTuple):
    """One file that came from the remote.

    Attributes:
        fingerprint: as it was merged.
        fit: whether the cells are those of the fingerprint.
    """

    file: str
    fingerprint: bytes
    fit: bool


def read_cells(database: StateDatabase, unique: str) -> Iterator[FileCells]:
    """All files that came from the remote, deleted ones too, one by one; several times as long as merging them.

    Args:
        unique: the key that identifies a file.
    """
    place = {name: at for at, name in enumerate(STATE_SYSTEM)}
    width = len(STATE_SYSTEM)
    with database.reading() as connection:
        columns = KeyColumns.load(connection, REMOTE, unique)
        names = [columns.unique_sql, *STATE_SYSTEM, *columns.sql]
        for file, *row in connection.execute(f"SELECT {', '.join(names)} FROM files WHERE __fingerprint IS NOT NULL"):
            known = bytes(row[place["__fingerprint"]])
            if row[place["__deleted"]] and row[place["__deleted_reason"]] == PRUNED:
                yield FileCells(str(file), known, True)
                continue
            found = fingerprint_of(columns.decode(row[width:], row[place["__types"]], row[place["__more"]]))
            yield FileCells(
                str(file), known, known == (deleted_fingerprint(found) if row[place["__deleted"]] else found)
            )
