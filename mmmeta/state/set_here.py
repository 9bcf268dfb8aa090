"""The files of a state db as far as a copy of a state has to do with them: merged anew, and what was set here as rows."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial

from mmmeta.catalog.columns import CLIENT, REMOTE, KeyColumns
from mmmeta.catalog.tables import read_info
from mmmeta.clock import Clock, to_text
from mmmeta.layout import Layout
from mmmeta.metadata.changelog.sources import sources
from mmmeta.metadata.database import MetadataDatabase
from mmmeta.state.database import StateDatabase
from mmmeta.state.db import next_state_revision
from mmmeta.state.ledger.transfer import BATCH, OwnFiles, Row
from mmmeta.state.merge import VANISHED
from mmmeta.state.update import Announced, UpdateOptions, Updater

_ASKED = 90
"""Columns that a condition names; with more, all rows are read."""


class SetHere(OwnFiles):
    """The files of one metadir's state db."""

    def __init__(self, layout: Layout, clock: Clock) -> None:
        self._layout = layout
        self._clock = clock

    def make(self, database: StateDatabase) -> None:
        layout = self._layout
        with closing(MetadataDatabase(layout.meta_db, server_mark=layout.server_mark, read_only=True)) as metadata:
            find = partial(sources, layout, metadata, own=layout.server_mark.exists())
            Updater(find, database, UpdateOptions(), Announced(None), self._clock).run()

    def rows(self, connection: sqlite3.Connection) -> Iterator[Row]:
        unique, columns = _columns(connection)
        names = ["__local_types", "__local_more", *columns.sql]
        some = f"WHERE coalesce({', '.join(names)}) IS NOT NULL" if len(names) < _ASKED else ""
        cursor = connection.execute(f"SELECT {unique}, {', '.join(names)} FROM files {some}")
        while rows := cursor.fetchmany(BATCH):
            for file, types, more, *cells in rows:
                values = columns.decode(cells, types, more)
                if values:
                    yield file, json.dumps(values, sort_keys=True)

    def write(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
        unique, columns = _columns(connection)
        values = [(file, json.loads(text)) for file, text in rows]
        for _, own in values:
            columns.encode(own)  # makes the columns that are not there yet
        columns.flush()
        stamp, revision = to_text(self._clock()), next_state_revision(connection)
        connection.executemany(
            # Of a file that is not known here any more, or not yet, only the name and what was set.
            f"INSERT OR IGNORE INTO files ({unique}, __deleted, __deleted_at, __deleted_reason, __state_added) "
            "VALUES (?, 1, ?, ?, ?)",
            [(file, stamp, VANISHED, stamp) for file, _ in values],
        )
        names = ["__local_types", "__local_more", "__state_last_updated", "__state_rev", *columns.sql]

        def encoded() -> Iterator[Row]:
            for file, own in values:
                cells, types, more = columns.encode(own)
                yield (types, more, stamp, revision, *cells, file)

        connection.executemany(
            f"UPDATE files SET {', '.join(f'{name} = ?' for name in names)} WHERE {unique} = ?", encoded()
        )

    def clear(self, connection: sqlite3.Connection) -> None:
        _, columns = _columns(connection)
        names = ["__local_types", "__local_more", *columns.sql]
        connection.execute(f"UPDATE files SET {', '.join(f'{name} = NULL' for name in names)}")


def _columns(connection: sqlite3.Connection) -> tuple[str, KeyColumns]:
    """The quoted name of the column that identifies files, and the client's own columns."""
    unique = read_info(connection)["unique"]
    remote = KeyColumns.load(connection, REMOTE, unique)
    return remote.unique_sql, KeyColumns.load(connection, CLIENT, unique)
