"""The state db as the cache of a client whose ledger is elsewhere."""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection

from mmmeta.catalog.tables import read_info, write_info
from mmmeta.state.database import StateDatabase
from mmmeta.state.db import merged_of
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
        return Copy(merged.state_id, merged.metadata_id, merged.revision, merged.state_revision, merged.own_revision)

    def marks(self) -> Collection[str]:
        return {mark for marks in self._told().values() for mark in marks}

    def note(self, job: str, mark: str, before: str | None) -> None:
        kept = [mark] if before is None else [before, mark]
        with self._database.atomic(existing=True) as connection:
            write_info(connection, **{_TOLD: json.dumps(self._told() | {job: kept})})

    def rename(self) -> str:
        name = uuid.uuid4().hex
        with self._database.atomic(existing=True) as connection:
            write_info(connection, **{"id": name, _TOLD: "{}"})
        return name

    def _told(self) -> dict[str, list[str]]:
        with self._database.reading() as connection:
            known: dict[str, list[str]] = json.loads(read_info(connection).get(_TOLD) or "{}")
        return known
