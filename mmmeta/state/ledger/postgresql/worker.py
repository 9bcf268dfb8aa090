"""The sign of life of a worker: a lock that its session holds for as long as it lives, and that the server drops with it."""

from __future__ import annotations

import logging
import uuid
from contextlib import suppress
from pathlib import Path

import psycopg

from mmmeta.state.ledger.postgresql.schema import Row
from mmmeta.state.ledger.postgresql.server import Server, Transaction, is_pooled
from mmmeta.state.liveness import Alive, Worker, hold, let_go, sweep

_log = logging.getLogger(__name__)

_SEEN = "session/"
"""What the name of a worker begins with whose session tells whether it lives; of others only the lease tells."""


class PostgresWorker(Alive):
    """One worker, alive from ``start`` until ``stop``, the end of the process, or a cut connection.

    Args:
        folder: of the locks of this host's workers, for what asks on this host whether a run is at work; None where nothing
            is to be written.
    """

    def __init__(self, server: Server, folder: Path | None) -> None:
        super().__init__(f"{_SEEN}{uuid.uuid4().hex[:16]}")
        self._server = server
        self._folder = folder
        self._here = None if folder is None else Worker(folder)
        self._connection: psycopg.Connection[Row] | None = None
        self._handle = -1
        self._is_seen = False

    def start(self) -> None:
        self._is_seen = True
        if self._folder is not None and self._here is not None:
            sweep(self._folder, [])
            self._here.start()
        self._show()

    def _show(self) -> None:
        with self._server.translating():
            connection = self._server.connect()
            if is_pooled(connection):
                connection.close()
                self._is_seen = False
                self.name: str = self.name.replace(_SEEN, "lease/")
                _log.warning(
                    "%s is behind a connection pooler, which hides whether a worker lives: the files of one that dies are "
                    "free when its lease ends. Give the server's own address to have them at once",
                    self._server.shown,
                )
                return
            connection.execute("SELECT pg_advisory_lock(%s)", (_key(self.name),))
        self._connection, self._handle = connection, connection.fileno()
        hold(self._handle)

    def stay(self) -> None:
        if not self._is_seen:
            return
        if self._connection is not None:
            try:
                self._connection.execute("SELECT 1")
                return
            except psycopg.OperationalError:
                self._hide()
        self._show()  # also where the server was not back yet the last time

    def stop(self, *, holds: bool = False) -> None:
        self._is_seen = False
        if self._here is not None:
            self._here.stop()
        self._hide()

    def _hide(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None or not let_go(self._handle):
            return
        with suppress(psycopg.Error):
            connection.close()


def dead_among(transaction: Transaction, claimed: dict[str, float]) -> set[str]:
    """Those of these workers that are known to be gone.

    Args:
        claimed: worker → when it claimed last, by the server's clock. What was claimed before the server was started tells
            nothing: all locks ended then.
    """
    keys = {_key(worker): worker for worker in claimed if worker.startswith(_SEEN)}
    if not keys:
        return set()
    rows = transaction.rows(
        "SELECT key FROM unnest(%s::bigint[]) AS key WHERE NOT EXISTS (SELECT 1 FROM pg_locks AS l "
        "WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted "
        "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
        "AND (l.classid::bigint << 32 | l.objid::bigint) = key)",
        (list(keys),),
    )
    if not rows:
        return set()
    (started,) = transaction.one("SELECT extract(epoch FROM pg_postmaster_start_time())::float8")
    return {keys[key] for (key,) in rows if claimed[keys[key]] > started}


def tells_by_session(worker: str) -> bool:
    """Whether a lock tells if a worker lives."""
    return worker.startswith(_SEEN)


def living(transaction: Transaction, workers: list[str]) -> bool:
    """Whether one of these may be at work."""
    now = dict.fromkeys(workers, float("inf"))
    return bool(set(workers) - dead_among(transaction, now))


def _key(name: str) -> int:
    """The number of a worker's lock."""
    number = int(name.removeprefix(_SEEN), 16)
    return number - (1 << 64) if number >> 63 else number
