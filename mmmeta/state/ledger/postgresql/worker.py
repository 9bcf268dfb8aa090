"""The sign of life of a worker: a lock that its session holds for as long as it lives, and that the server drops with it.

A lock that is gone means a dead worker, or a connection that was cut: the server cannot tell which. So a worker watches its
connection and takes the lock again at once when it was cut, and whoever misses a lock gives its worker that moment.
"""

from __future__ import annotations

import logging
import os
import select
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path

import psycopg

from mmmeta.sqlite.forks import inside
from mmmeta.state.ledger.postgresql.errors import may_come_back
from mmmeta.state.ledger.postgresql.schema import Row
from mmmeta.state.ledger.postgresql.server import PAUSE, RECONNECT_FOR, Server, Transaction, is_pooled
from mmmeta.state.liveness import Alive, Worker, boot_seconds, hold, let_go, sweep

_log = logging.getLogger(__name__)

_SEEN = "session/"
"""What the name of a worker begins with whose session tells whether it lives; of others only the lease tells."""

_LOOK_EVERY = 0.1
"""Seconds between two looks of a worker at its connection; it costs no word to the server."""

BACK_WITHIN = 0.6
"""Seconds for which a lock has to be missing before its worker counts as dead."""

_SURE = 0.5
"""Seconds for which a worker's own lock may have been missing while nobody can have taken its files."""

_BACK_AFTER_START = 15.0
"""Seconds that workers have to come back to a server that was started anew: what they held before is theirs until then."""

_ASK_AGAIN = 0.05


class PostgresWorker(Alive):
    """One worker, alive from ``start`` until ``stop`` or the end of the process. A thread shows it again where its connection
    was cut.

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
        self._process = os.getpid()
        self._showing = threading.Lock()
        self._over = threading.Event()
        self._watch: threading.Thread | None = None
        self._held_at = boot_seconds()

    def start(self) -> None:
        self._is_seen = True
        if self._folder is not None and self._here is not None:
            sweep(self._folder, [])
            self._here.start()
        with self._server.translating():
            self._look()
        if self._is_seen:
            self._watch = threading.Thread(target=self._keep, name=f"mmmeta {self.name}", daemon=True)
            self._watch.start()

    def _keep(self) -> None:
        pause = _LOOK_EVERY
        while not self._over.wait(pause):
            pause = _LOOK_EVERY
            if self._is_quiet():
                self._held_at = boot_seconds()
                continue
            try:
                with inside():  # a child that is forked in between would inherit a connection that nobody closes in it
                    self._look()
            except Exception as error:  # whatever it is: without a sign of life the claims pass to others
                _log.debug("%s cannot show that it lives: %s", self.name, type(error).__name__)
                pause = PAUSE

    def _is_quiet(self) -> bool:
        """Whether the connection is there and the server has said nothing: its end would be there to be read."""
        if self._connection is None:
            return False
        poll = select.poll()
        poll.register(self._handle, select.POLLIN)
        return not poll.poll(0)

    def _look(self) -> None:
        """See that the server knows the lock, and take it again if it was lost."""
        with self._showing:
            try:
                if self._connection is not None:
                    try:
                        self._connection.execute("SELECT 1")
                    except psycopg.OperationalError:
                        self._hide()
                if self._connection is None and not self._over.is_set():
                    self._show()
            finally:
                if self._over.is_set():
                    self._hide()
            self._held_at = boot_seconds()

    def _show(self) -> None:
        connection = self._server.connect()
        try:
            if is_pooled(connection):
                connection.close()
                self._is_seen = False
                self._over.set()
                self.name: str = self.name.replace(_SEEN, "lease/")
                _log.warning(
                    "%s is behind a connection pooler, which hides whether a worker lives: the files of one that dies are "
                    "free when its lease ends. Give the server's own address to have them at once",
                    self._server.shown,
                )
                return
            # Shared with itself: the server may not have noticed yet that the connection before is no more.
            connection.execute("SELECT pg_advisory_lock_shared(%s)", (_key(self.name),))
        except BaseException:
            connection.close()
            raise
        self._connection, self._handle = connection, connection.fileno()
        hold(self._handle)
        if boot_seconds() - self._held_at > _SURE:
            self.lease.end()

    def stay(self, *, wait: bool = False) -> None:
        if not self._is_seen or self._process != os.getpid():
            return
        until = time.monotonic() + (RECONNECT_FOR if wait else 0.0)
        while True:
            with self._server.translating():
                try:
                    self._look()
                    return
                except psycopg.OperationalError as error:
                    if not may_come_back(error) or time.monotonic() >= until:
                        raise
            time.sleep(PAUSE)

    def stop(self, *, holds: bool = False) -> None:
        self._is_seen = False
        self._over.set()
        if self._here is not None:
            self._here.stop()
        if self._process != os.getpid():
            return
        # What is just being connected sees that it is over, and closes itself.
        if self._showing.acquire(timeout=1.0):
            try:
                self._hide()
            finally:
                self._showing.release()
        if self._watch is not None:
            self._watch.join(1.0)

    def _hide(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None or not let_go(self._handle):
            return
        with suppress(psycopg.Error):
            connection.close()


def dead_among(transaction: Transaction, claimed: dict[str, float], *, patience: float = BACK_WITHIN) -> set[str]:
    """Those of these workers that are known to be gone. Waits where a lock is missing, for as long as a worker whose connection
    was cut needs to take it again.

    Args:
        claimed: worker → when it claimed last, by the server's clock. What was claimed before the server was started tells
            nothing until all had the time to come back: all locks ended then.
        patience: seconds to wait; 0 where the caller knows for how long it has not heard of them.
    """
    keys = {_key(worker): worker for worker in claimed if worker.startswith(_SEEN)}
    missing = _missing(transaction, list(keys))
    if not missing:
        return set()
    started, age = transaction.one(
        "SELECT extract(epoch FROM pg_postmaster_start_time())::float8, "
        "extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::float8"
    )
    missing = [key for key in missing if claimed[keys[key]] > started or age > _BACK_AFTER_START]
    until = time.monotonic() + patience
    while missing and (left := until - time.monotonic()) > 0:
        time.sleep(min(_ASK_AGAIN, left))
        missing = _missing(transaction, missing)
    return {keys[key] for key in missing}


def _missing(transaction: Transaction, keys: list[int]) -> list[int]:
    """Those of these locks that nobody holds now."""
    if not keys:
        return []
    rows = transaction.rows(
        "SELECT key FROM unnest(%s::bigint[]) AS key WHERE NOT EXISTS (SELECT 1 FROM pg_locks AS l "
        "WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted "
        "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
        "AND (l.classid::bigint << 32 | l.objid::bigint) = key)",
        (keys,),
    )
    return [key for (key,) in rows]


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
