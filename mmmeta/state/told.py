"""Files as a ledger has told them to a worker: as rows, and in memory as a catalog, for what filters ask of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

from mmmeta.catalog.catalog import Catalog, FileRow
from mmmeta.catalog.columns import CLIENT, REMOTE, KeyColumns
from mmmeta.catalog.tables import META_SYSTEM, STATE_SYSTEM
from mmmeta.state.database import StateDatabase
from mmmeta.state.db import create_tables
from mmmeta.state.ledger.payloads import Common, Told

Fill = Callable[[sqlite3.Connection], None]


class ToldDatabase(StateDatabase):
    """A state db in memory, made anew whenever it is read; nothing is created on disk.

    Args:
        fill: writes what is in it, or says that nothing can be.
    """

    def __init__(self, path: Path, fill: Fill) -> None:
        super().__init__(path)
        self._fill = fill

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
            self._fill(connection)
            yield connection


class ToldCatalog(Catalog):
    """Knows all keys that files have, whichever files are in it.

    Args:
        told: the files in it.
        fill: in place of them, says that there are none.
    """

    def __init__(self, common: Common, told: Mapping[str, Told], now: datetime, *, fill: Fill | None = None) -> None:
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
            _write(connection, common, told)
            owners = [KeyColumns.load(connection, owner, common.unique) for owner in (REMOTE, CLIENT)]
        database = ToldDatabase(Path(), fill or (lambda connection: _write(connection, common, told)))
        super().__init__(database, unique=common.unique, alive=1, owners=owners, system=STATE_SYSTEM, now=now)
        self._all = dict.fromkeys(common.keys)

    @property
    def keys(self) -> list[str]:
        return list(self._all)

    def knows(self, key: str) -> bool:
        return key in self._all or super().knows(key)


def row_of(file: str, told: Told) -> FileRow:
    """A file as any database has it."""
    return FileRow(file, told.meta, told.own, told.system)


def _write(connection: sqlite3.Connection, common: Common, told: Mapping[str, Told]) -> None:
    create_tables(connection, common.unique)
    owners = [KeyColumns.load(connection, owner, common.unique) for owner in (REMOTE, CLIENT)]
    for one in told.values():
        names: list[str] = []
        cells: list[object] = []
        for columns, values, marks in zip(
            owners, (one.meta, one.own), (("__types", "__more"), ("__local_types", "__local_more")), strict=True
        ):
            encoded, types, more = columns.encode(values)
            names += [*columns.sql, *marks]
            cells += [*encoded, types, more]
        system = [name for name in META_SYSTEM if name in one.system]
        names += system
        cells += [one.system[name] for name in system]
        marks_ = ", ".join("?" * len(names))
        connection.execute(f"INSERT INTO files ({', '.join(names)}) VALUES ({marks_})", cells)
    for columns in owners:
        columns.flush()
