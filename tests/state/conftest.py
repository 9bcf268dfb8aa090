"""Where a ledger can be: every test that asks for ``ledgers`` runs over each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from archives import SettableClock
from databases import POSTGRESQL
from postgres import emptied_server

from mmmeta.state.database import StateDatabase
from mmmeta.state.db import create_tables
from mmmeta.state.ledger.sqlite.store import SqliteLedgerStore
from mmmeta.state.ledger.store import LedgerStore


@pytest.fixture(params=["sqlite", POSTGRESQL])
def ledgers(request: pytest.FixtureRequest, tmp_path: Path, clock: SettableClock) -> Iterator[LedgerStore]:
    """An empty ledger in the named database. There are no files: it is told of them."""
    if request.param == "postgresql":
        from mmmeta.state.ledger.postgresql.store import PostgresLedgerStore

        store = PostgresLedgerStore(emptied_server(), tmp_path / "workers", clock, None)
        yield store
        store.close()
        return
    database = StateDatabase(tmp_path / "state.db")
    with database.atomic() as connection:
        create_tables(connection, "content_hash")
    yield SqliteLedgerStore(database, tmp_path / "workers", clock)
    database.close()
