"""Tells a ledger what is in the files of a state db, for workers that have none: metadata verbatim, and what holds for all."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property

from mmmeta.catalog.catalog import Catalog
from mmmeta.catalog.tables import META_SYSTEM
from mmmeta.chunks import in_chunks
from mmmeta.config.model import Config
from mmmeta.state.database import StateDatabase
from mmmeta.state.db import catalog_by
from mmmeta.state.ledger.payloads import Payload, write_common, write_payload

_AT_ONCE = 500

_TOLD = tuple(name for name in META_SYSTEM if name not in ("__types", "__more"))
"""System columns that are told; the others say how this database keeps values."""


class FileTeller:
    """The files as a connection sees them.

    Attributes:
        connection: in a transaction.
    """

    def __init__(self, connection: sqlite3.Connection, database: StateDatabase, config: Config, now: datetime) -> None:
        self.connection = connection
        self._database = database
        self._config = config
        self._now = now

    @cached_property
    def common(self) -> str:
        return write_common(self._catalog.unique, self._catalog.keys, self._config.model_dump(mode="json"))

    def payloads(self, names: Sequence[str]) -> Iterator[Payload]:
        """Those of these files that there are, deleted ones too."""
        for chunk in in_chunks(names, _AT_ONCE):
            for row in self._catalog.read(self.connection, chunk):
                system = {name: row.system[name] for name in _TOLD}
                yield Payload(row.unique_value, row.system["__rev"], write_payload(row.remote, system))

    @cached_property
    def _catalog(self) -> Catalog:
        """As of this moment, too: the caller's may know fewer columns."""
        return catalog_by(self.connection, self._database, self._now)


@contextmanager
def telling(database: StateDatabase, config: Config, now: datetime) -> Iterator[FileTeller]:
    """The files as of one moment, from the first time that they are read within the block until its end."""
    with database.reading() as connection:
        connection.execute("BEGIN")
        try:
            yield FileTeller(connection, database, config, now)
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
