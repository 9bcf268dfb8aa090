"""The ledger of a state db in SQLite: opens it for a change, a rehearsal, or a look."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mmmeta.catalog.tables import read_info
from mmmeta.clock import Clock
from mmmeta.errors import StateDbError
from mmmeta.state.database import StateDatabase
from mmmeta.state.ledger.rules import JobRules
from mmmeta.state.ledger.sqlite.ledger import SqliteLedger
from mmmeta.state.ledger.sqlite.view import SqliteLedgerView
from mmmeta.state.ledger.store import Ledger, LedgerStore
from mmmeta.state.ledger.view import LedgerView
from mmmeta.state.liveness import Worker
from mmmeta.state.own_values import SHARED_WITH


class _RolledBack(Exception):
    """Ends a transaction in which somebody only looked."""


class SqliteLedgerStore(LedgerStore):
    """The ledger in the state db's own file.

    Args:
        database: the state db.
        workers: folder of the workers' locks.
    """

    def __init__(self, database: StateDatabase, workers: Path, clock: Clock) -> None:
        self._database = database
        self._workers = workers
        self._clock = clock
        self._is_own = False

    def _require_own(self, connection: sqlite3.Connection) -> None:
        """Refuse where the state db was the copy of a client whose ledger is elsewhere: this one knows nothing of what jobs have
        done since, and everything would be done again; looked at once.

        Raises:
            StateDbError: it is.
        """
        if not self._is_own and read_info(connection).get(SHARED_WITH) is not None:
            raise StateDbError(
                f"what jobs have done is not in {self._database.path} but in the PostgreSQL that `state:` named before: name it "
                "again, or bring it here (`mmmeta state copy 'postgresql+psycopg://…' FILE`) and give `state: FILE`"
            )
        self._is_own = True

    @contextmanager
    def changing(self, rules: JobRules) -> Iterator[Ledger]:
        with self._database.atomic(existing=True) as connection:
            self._require_own(connection)
            yield SqliteLedger(connection, rules, self._workers, self._clock())

    @contextmanager
    def rehearsing(self, rules: JobRules) -> Iterator[Ledger]:
        with suppress(_RolledBack), self.changing(rules) as ledger:
            yield ledger
            raise _RolledBack  # committing what a savepoint has undone would write its pages nevertheless

    @contextmanager
    def looking(self) -> Iterator[LedgerView]:
        with self._database.reading() as connection:
            self._require_own(connection)
            yield SqliteLedgerView(connection)

    def identity(self) -> str:
        with self._database.reading() as connection:
            return str(read_info(connection)["id"])

    def worker(self) -> Worker:
        return Worker(self._workers)

    def close(self) -> None:
        self._database.close()
