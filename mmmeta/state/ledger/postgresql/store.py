"""The ledger of a state in PostgreSQL: opens it for a change, a rehearsal, or a look."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mmmeta.clock import Clock
from mmmeta.state.ledger.copies import Cache, Copy
from mmmeta.state.ledger.payloads import Common, read_common
from mmmeta.state.ledger.postgresql.address import address_of
from mmmeta.state.ledger.postgresql.arrivals import admit
from mmmeta.state.ledger.postgresql.ledger import PostgresLedger
from mmmeta.state.ledger.postgresql.names import read_entry
from mmmeta.state.ledger.postgresql.own_values import PostgresOwnValues
from mmmeta.state.ledger.postgresql.payloads import COMMON
from mmmeta.state.ledger.postgresql.progress import NOBODY
from mmmeta.state.ledger.postgresql.server import Server, Transaction
from mmmeta.state.ledger.postgresql.signs import tell
from mmmeta.state.ledger.postgresql.texts import LONGEST_NAME, why_unfit
from mmmeta.state.ledger.postgresql.view import PostgresLedgerView
from mmmeta.state.ledger.postgresql.worker import PostgresWorker
from mmmeta.state.ledger.rules import JobRules
from mmmeta.state.ledger.store import Ledger, LedgerStore
from mmmeta.state.ledger.view import LedgerView
from mmmeta.state.liveness import Alive
from mmmeta.state.status import Status


class _RolledBack(Exception):
    """Ends a transaction in which somebody only looked."""


class PostgresLedgerStore(LedgerStore):
    """The ledger in a schema of a PostgreSQL database; the first who comes makes the tables.

    Args:
        url: with ``?schema=`` for another schema than ``mmmeta``.
        workers: folder of the locks of this host's workers; None where nothing is to be written.
        cache: this client's, None for one without files.
    """

    longest_name = LONGEST_NAME

    def __init__(self, url: str, workers: Path | None, clock: Clock, cache: Cache | None) -> None:
        self._server = Server(address_of(url))
        self.own: PostgresOwnValues = PostgresOwnValues(self._server)
        self._workers = workers
        self._clock = clock
        self._cache = cache

    def why_unfit(self, file: str) -> str | None:
        return why_unfit(file)

    @property
    def shown(self) -> str:
        """Where it is, without user and password."""
        return self._server.shown

    @contextmanager
    def changing(self, rules: JobRules) -> Iterator[Ledger]:
        with self._server.transaction() as transaction:
            yield self._ledger(transaction, rules)

    @contextmanager
    def rehearsing(self, rules: JobRules) -> Iterator[Ledger]:
        with suppress(_RolledBack), self._server.transaction() as transaction:
            ledger = self._ledger(transaction, rules)
            ledger.rehearses = True
            ledger.wants_payloads = False  # nobody will ask for them
            yield ledger
            raise _RolledBack

    @contextmanager
    def looking(self) -> Iterator[LedgerView]:
        with self._server.looking() as transaction:
            yield PostgresLedgerView(transaction, self._copy() or NOBODY, self._server.ahead, self._cache)

    def admit(self) -> None:
        copy = self._copy()
        if copy is not None and self._cache is not None:
            with self._server.transaction() as transaction:
                admit(transaction, copy, self._cache, self.shown)

    def identity(self) -> str:
        with self._server.looking() as transaction:
            return read_entry(transaction, "id") or ""

    def common(self) -> Common | None:
        with self._server.looking() as transaction:
            text = read_entry(transaction, COMMON)
        return read_common(text) if text else None

    def tell(self, status: Status) -> None:
        copy = self._copy()
        with self._server.transaction() as transaction:
            tell(transaction, status, 0 if copy is None else copy.own_revision, self._server.ahead)

    def worker(self) -> Alive:
        return PostgresWorker(self._server, self._workers)

    def close(self) -> None:
        self._server.close()

    def _copy(self) -> Copy | None:
        return None if self._cache is None else self._cache.copy()

    def _ledger(self, transaction: Transaction, rules: JobRules) -> PostgresLedger:
        ahead, copy = self._server.ahead, self._copy() or NOBODY
        return PostgresLedger(transaction, rules, self._clock() + ahead, ahead, copy, self.shown, self._cache)
