"""Connections to the server: one for each transaction at a time, kept for the next, made anew when they were cut.

Nothing is remembered in a session between transactions, so that a pooler in transaction mode may stand in between; where the
tables are is said at the beginning of each.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import psycopg

from mmmeta.errors import StateDbError
from mmmeta.silence import SERVER
from mmmeta.state.ledger.postgresql.address import Address
from mmmeta.state.ledger.postgresql.errors import may_come_back, translated
from mmmeta.state.ledger.postgresql.schema import Row, ensure
from mmmeta.state.liveness import boot_seconds
from mmmeta.target.postgresql import array

RECONNECT_FOR = 30.0
"""Seconds that a server which was there before is waited for: a restart, a failover."""

PAUSE = 0.2
"""Seconds between two tries to reach it again."""

_LONGEST_WAIT = "10min"
"""For somebody else's rows. A first evaluation of millions of files is waited for, one that hangs is not for ever."""

_LONGEST_IDLE = "10min"
"""Within a transaction: a process that was stopped must not keep a job from all others for ever."""

_WHAT_TIME = "extract(epoch FROM clock_timestamp())::float8"

_NOTICE_SILENCE = ", ".join(f"set_config('{name}', '{value}', false)" for name, value in SERVER.items())
"""A host that is gone without a word must hold nothing for longer: no rows, no job, and not the lock that tells that it lives."""

_TOLERATED = 2.0
"""Seconds that a clock may differ from the server's, beside what the question takes; shorter would tell the network's moods."""


class Transaction:
    """One transaction: its connection, and which locks it holds."""

    def __init__(self, connection: psycopg.Connection[Row], schema: str) -> None:
        self._connection = connection
        self._schema = schema
        self._held: set[tuple[str, bool]] = set()

    def execute(self, sql: str, parameters: tuple[Any, ...] = ()) -> psycopg.Cursor[Row]:
        """Execute one statement; a list is an array, whose type the statement says or compares with."""
        given = tuple(array(one) if type(one) is list else one for one in parameters)
        return self._connection.execute(sql.encode(), given or None)

    def rows(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[Row]:
        """All rows of a query."""
        return self.execute(sql, parameters).fetchall()

    def one(self, sql: str, parameters: tuple[Any, ...] = ()) -> Row:
        """The row of a query that always has one."""
        row = self.execute(sql, parameters).fetchone()
        assert row is not None
        return row

    def stream(self, sql: str, size: int) -> Iterator[Row]:
        """The rows of a query, so many of them in memory at a time."""
        with self._connection.cursor(name="mmmeta_stream") as cursor:
            cursor.itersize = size
            cursor.execute(sql.encode())
            yield from cursor

    def copy(self, sql: str, rows: Iterable[Row], types: tuple[str, ...]) -> None:
        """Bring many rows by COPY."""
        with self._connection.cursor().copy(sql.encode()) as copy:
            copy.set_types(types)
            for row in rows:
                copy.write_row(row)

    def alone(self, job: str) -> None:
        """Wait for all who work with a job's rows, and keep others off, until the end of the transaction."""
        self._lock(f"job {job}", shared=False)

    def among_others(self, job: str) -> None:
        """Wait for those who have a job for themselves; others that take, give back and settle claims are not in the way."""
        if (f"job {job}", False) not in self._held:
            self._lock(f"job {job}", shared=True)

    def placing(self) -> None:
        """Places are given by one at a time, whatever its job; before any row is locked."""
        self._lock("places", shared=False)

    def saving(self) -> None:
        """What clients set is written by one at a time."""
        self._lock("own values", shared=False)

    def _lock(self, what: str, *, shared: bool) -> None:
        if (what, shared) not in self._held:
            function = f"pg_advisory_xact_lock{'_shared' if shared else ''}"
            self.execute(f"SELECT {function}(hashtext(%s), hashtext(%s))", (f"mmmeta {self._schema}", what))
            self._held.add((what, shared))


class Server:
    """The server of one ledger; safe for threads, each of which has its own transaction.

    Args:
        admit: looks at what is there before the first transaction; brings it to this format unless given.
    """

    def __init__(self, address: Address, admit: Callable[[psycopg.Connection[Row]], None] | None = None) -> None:
        self.shown: str = address.shown
        self._address = address
        self._admit = admit or (lambda connection: ensure(connection, address.schema, address.shown))
        self._lock = threading.Lock()
        self._idle: list[psycopg.Connection[Row]] = []
        self._mine = threading.local()
        self._pid = os.getpid()
        self._was_there = False
        self._ahead_of_boot: float | None = None

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A transaction that writes: committed at the end, rolled back on any error; nests by joining.

        Raises:
            StateDbError: the server cannot be used, or what was said to it cannot be kept.
        """
        joined: Transaction | None = getattr(self._mine, "transaction", None)
        if joined is not None and self._pid == os.getpid():
            yield joined
            return
        with self._begun("READ COMMITTED") as connection:
            self._mine.transaction = Transaction(connection, self._address.schema)
            try:
                yield self._mine.transaction
            finally:
                self._mine.transaction = None

    @contextmanager
    def looking(self) -> Iterator[Transaction]:
        """A transaction that only reads, as of one moment.

        Raises:
            StateDbError: the server cannot be used.
        """
        with self._begun("REPEATABLE READ READ ONLY") as connection:
            yield Transaction(connection, self._address.schema)

    @contextmanager
    def translating(self) -> Iterator[None]:
        """Errors of the server as ours, in one line."""
        try:
            yield
        except psycopg.Error as error:
            raise translated(error, self.shown) from None  # what it says may repeat a password

    def connect(self) -> psycopg.Connection[Row]:
        """A connection of one's own; each statement is a transaction unless one is begun. Its user closes it."""
        connection = psycopg.connect(**self._address.options, autocommit=True)
        try:
            pooled = is_pooled(connection)
            if pooled:
                connection.prepare_threshold = None  # the next transaction may be in another session
            self._compare_clocks(connection, _WHAT_TIME if pooled else f"{_WHAT_TIME}, {_NOTICE_SILENCE}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _compare_clocks(self, connection: psycopg.Connection[Row], what: str) -> None:
        began = boot_seconds()
        row = connection.execute(f"SELECT {what}".encode()).fetchone()
        assert row is not None
        took = boot_seconds() - began
        boot = row[0] - began - took / 2
        here = time.time() - boot_seconds()
        self._ahead_of_boot = boot if abs(boot - here) > _TOLERATED + took else None

    @property
    def ahead(self) -> timedelta:
        """By how much the server's clock is ahead of this host's, which may have been set since, in whole seconds; nothing where
        they agree. What is told twice has to be the same."""
        boot = self._ahead_of_boot
        return timedelta() if boot is None else timedelta(seconds=round(boot + boot_seconds() - time.time()))

    def close(self) -> None:
        """Close what is not in use."""
        self._forget_after_fork()
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def __del__(self) -> None:
        with suppress(Exception):
            self.close()

    @contextmanager
    def _begun(self, kind: str) -> Iterator[psycopg.Connection[Row]]:
        with self.translating():
            connection = self._begin(
                f'BEGIN ISOLATION LEVEL {kind}; SET LOCAL search_path TO "{self._address.schema}"; '
                f"SET LOCAL lock_timeout TO '{_LONGEST_WAIT}'; "
                f"SET LOCAL idle_in_transaction_session_timeout TO '{_LONGEST_IDLE}'"
            )
            process = os.getpid()
            try:
                yield connection
                if os.getpid() == process:
                    connection.execute("COMMIT")
            except BaseException:
                if os.getpid() == process:
                    self._roll_back(connection)
                raise
            if os.getpid() == process:
                with self._lock:
                    self._idle.append(connection)

    def _roll_back(self, connection: psycopg.Connection[Row]) -> None:
        try:
            connection.execute("ROLLBACK")
        except psycopg.Error:
            connection.close()
        else:
            with self._lock:
                self._idle.append(connection)

    def _begin(self, statement: str) -> psycopg.Connection[Row]:
        """A connection in a transaction: one that is left, else a new one, which a server that was there is given time for."""
        self._forget_after_fork()
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                break
            try:
                connection.execute(statement.encode())
                return connection
            except psycopg.OperationalError:
                connection.close()  # it was cut while nobody used it
        until = time.monotonic() + (RECONNECT_FOR if self._was_there else 0.0)
        while True:
            try:
                connection = self.connect()
                try:
                    if not self._was_there:
                        self._admit(connection)
                    connection.execute(statement.encode())
                except BaseException:
                    connection.close()
                    raise
                self._was_there = True
                return connection
            except psycopg.OperationalError as error:
                if not may_come_back(error) or time.monotonic() > until:
                    raise
            time.sleep(PAUSE)

    def _forget_after_fork(self) -> None:
        """A child's connections are its parent's; libpq closes none that another process has made."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._lock = threading.Lock()
            self._idle = []
            self._mine = threading.local()


def is_pooled(connection: psycopg.Connection[Row]) -> bool:
    """Whether a pooler stands between: the session that answers is not the one that was greeted."""
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    return row is not None and row[0] != connection.info.backend_pid


def error(where: str, reason: str) -> StateDbError:
    """The ledger cannot be used, for a reason of ours."""
    return StateDbError(f"{where} {reason}")
