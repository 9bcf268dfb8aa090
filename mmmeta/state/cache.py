"""The state db as the cache of a client whose ledger is elsewhere."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Collection

from mmmeta.catalog.columns import REMOTE, KeyColumns
from mmmeta.catalog.tables import read_info, write_info
from mmmeta.chunks import PER_STATEMENT, in_chunks
from mmmeta.state.database import StateDatabase
from mmmeta.state.db import merged_of, read_merged
from mmmeta.state.ledger.copies import Cache, Copy

_TOLD = "told"
"""Entry of the table ``info``: job → marks of the last times that a ledger was told of it."""


class StateCache(Cache):
    """A state db."""

    def __init__(self, database: StateDatabase) -> None:
        self._database = database

    def copy(self) -> Copy | None:
        merged = merged_of(self._database)
        if merged is None:
            return None
        return Copy(
            merged.state_id,
            merged.metadata_id,
            merged.revision,
            merged.state_revision,
            merged.own_revision,
            merged.digest.hex(),
            merged.word,
        )

    def marks(self) -> Collection[str]:
        with self._database.reading() as connection:
            return {mark for marks in _told(connection).values() for mark in marks}

    def count_alive(self, names: Collection[str]) -> int:
        count = 0
        with self._database.reading() as connection:
            merged = read_merged(connection, self._database)
            assert merged is not None
            unique_sql = KeyColumns.load(connection, REMOTE, merged.unique).unique_sql
            for chunk in in_chunks(names, PER_STATEMENT):
                sql = f"SELECT count(*) FROM files WHERE __deleted = 0 AND {unique_sql} IN ({', '.join('?' * len(chunk))})"
                count += connection.execute(sql, chunk).fetchone()[0]
        return count

    def note(self, job: str, mark: str, before: str | None) -> None:
        kept = [mark] if before is None else [before, mark]
        with self._database.atomic(existing=True) as connection:
            write_info(connection, **{_TOLD: json.dumps(_told(connection) | {job: kept})})

    def rename(self) -> str:
        name = uuid.uuid4().hex
        with self._database.atomic(existing=True) as connection:
            write_info(connection, **{"id": name, _TOLD: "{}"})
        return name


def _told(connection: sqlite3.Connection) -> dict[str, list[str]]:
    known: dict[str, list[str]] = json.loads(read_info(connection).get(_TOLD) or "{}")
    return known
