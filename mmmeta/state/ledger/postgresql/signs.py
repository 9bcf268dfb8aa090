"""What machines that share a ledger have told it of themselves: what is merged, which steps of runs are at work.

Counts are the ledger's own. A step holds a session's lock, as a worker does, and a row says when it gave a sign of life last:
one whose lock is gone is dead, once it had the time to take it again after a cut connection.
"""

from __future__ import annotations

from contextlib import closing, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from mmmeta.errors import MmmetaError
from mmmeta.state.ledger.copies import Copy
from mmmeta.state.ledger.postgresql.address import address_of
from mmmeta.state.ledger.postgresql.names import read_entry, write_entry
from mmmeta.state.ledger.postgresql.progress import LEFT
from mmmeta.state.ledger.postgresql.schema import FORMAT, Row, known_format
from mmmeta.state.ledger.postgresql.server import Server, Transaction
from mmmeta.state.ledger.postgresql.view import PostgresLedgerView
from mmmeta.state.ledger.postgresql.worker import PostgresWorker, dead_among, living, tells_by_session
from mmmeta.state.signs import KEPT, RunSign, Signs
from mmmeta.state.status import JobStatus, Status, named, parse_status, read_status, status_text

STATUS = "status"
"""Entry of the ledger: what was merged last, as status.json has it."""

PATIENCE = 5
"""Seconds that the server has for each answer to whoever looks. A tick of Dagster's sensor may take 60."""

_BACK_AFTER = 15.0
"""Seconds that a step has to take its lock again after its connection was cut: three beats."""

_KEPT_AFTER_END = 600.0
"""Seconds from the end of a step of which nothing more can be learnt then."""

_NOW = "extract(epoch FROM clock_timestamp())::float8"


def tell(transaction: Transaction, status: Status, own_revision: int, ahead: timedelta) -> None:
    """Say what a client has merged, unless another one has told of something newer.

    Args:
        ahead: by how much the server's clock is ahead of this host's.
    """
    jobs = {
        name: JobStatus(job.fingerprint, evaluated_at=job.evaluated_at + ahead)
        for name, job in status.jobs.items()
        if job.evaluated_at is not None
    }
    told = replace(status, jobs=jobs, written_at=status.written_at + ahead, state_file=None, metadata_file=None)
    known, known_own = _told(transaction)
    if known is not None:
        same = replace(known, written_at=told.written_at) == told and known_own == own_revision
        if same or _is_older(transaction, told, own_revision, known, known_own):
            return
    write_entry(transaction, STATUS, f"{own_revision} {status_text(told)}")


def _told(transaction: Transaction) -> tuple[Status | None, int]:
    """What was told last, and up to which revision of the own values."""
    own_revision, _, text = (read_entry(transaction, STATUS) or "").partition(" ")
    return (parse_status(text), int(own_revision)) if own_revision.isdecimal() else (None, 0)


def _is_older(transaction: Transaction, status: Status, own: int, known: Status, known_own: int) -> bool:
    if status.metadata_id == known.metadata_id and (status.revision or 0, own) < (known.revision or 0, known_own):
        return True
    (left,) = transaction.one(
        f"SELECT {LEFT}", (status.metadata_id, status.metadata_id, status.revision, status.digest)
    )
    return bool(left)


class _NothingToldError(Exception):
    """There are no tables of this format."""


class PostgresSigns(Signs):
    """What is there at one moment, read at once by one connection, which is closed again; makes nothing.

    Raises:
        StateDbError: the server cannot be asked.
        FormatError: a newer mmmeta has made what is there.
    """

    are_shared = True

    def __init__(self, url: str, status_here: Path, now: datetime) -> None:
        self._status_here = status_here
        self._status: Status | None = None
        self._somebody_works = False
        self._beats: dict[str, datetime] = {}
        self._at_work: dict[str, bool | None] = {}
        address = address_of(url)
        asked = str(address.options["connect_timeout"])
        if not asked.isdecimal() or not 0 < int(asked) < PATIENCE:
            address = replace(address, options=address.options | {"connect_timeout": PATIENCE})

        def admit(connection: psycopg.Connection[Row]) -> None:
            # An older format is brought to this one by whoever updates first; until then nothing is known.
            if known_format(connection, address.schema, address.shown) != FORMAT:
                raise _NothingToldError

        with closing(Server(address, admit)) as server, suppress(_NothingToldError), server.looking() as transaction:
            self._look(transaction, now, server.ahead)

    def _look(self, transaction: Transaction, now: datetime, ahead: timedelta) -> None:
        transaction.execute(f"SET LOCAL statement_timeout TO '{PATIENCE}s'")
        self._status = self._standing(transaction, now, ahead)
        claimed = transaction.rows("SELECT DISTINCT worker FROM ledger WHERE status = 'claimed' AND worker IS NOT NULL")
        self._somebody_works = bool(claimed) and living(transaction, [str(worker) for (worker,) in claimed])
        # All locks ended when the server was started anew, and nobody could give a sign before.
        rows = transaction.rows(
            f"SELECT run_id, worker, at_work, {_NOW} - beat, "
            f"{_NOW} - greatest(beat, extract(epoch FROM pg_postmaster_start_time())::float8) FROM runs"
        )
        held = [str(worker) for _, worker, at_work, _, _ in rows if at_work]
        gone = dead_among(transaction, dict.fromkeys(held, float("inf")), patience=0)
        for run_id, worker, at_work, age, since in rows:
            beat = now - timedelta(seconds=since if at_work else age)
            self._beats[run_id] = max(beat, self._beats.get(run_id, beat))
            if at_work and tells_by_session(worker):
                lives = True if worker not in gone else (None if since <= _BACK_AFTER else False)
                steps = (lives, self._at_work.get(run_id, False))
                self._at_work[run_id] = True if True in steps else (None if None in steps else False)

    def _standing(self, transaction: Transaction, now: datetime, ahead: timedelta) -> Status | None:
        told, own_revision = _told(transaction)
        if told is None or told.metadata_id is None or told.revision is None:
            return None
        copy = Copy(
            told.state_id, told.metadata_id, told.revision, told.state_revision, own_revision, told.digest or ""
        )
        view = PostgresLedgerView(transaction, copy, ahead)
        jobs = {}
        for name in view.jobs():
            job, before = view.status(name, now), told.jobs.get(name)
            if job is not None:
                is_same = before is not None and before.fingerprint == job.fingerprint
                evaluated_at = before.evaluated_at if before is not None and is_same else None
                jobs[name] = replace(job, evaluated_at=evaluated_at and evaluated_at - ahead)
        here = read_status(self._status_here)  # which meta.db was read, nobody but the machine that did knows
        read_here = here is not None and named(here) == named(told)
        metadata_file = here.metadata_file if here is not None and read_here else None
        return replace(told, jobs=jobs, written_at=told.written_at - ahead, metadata_file=metadata_file)

    def status(self) -> Status | None:
        return self._status

    def somebody_works(self) -> bool:
        return self._somebody_works

    def last_beat(self, run_id: str) -> datetime | None:
        return self._beats.get(run_id)

    def latest_beat(self, but_of: str | None = None) -> datetime | None:
        return max((beat for run_id, beat in self._beats.items() if run_id != but_of), default=None)

    def is_at_work(self, run_id: str) -> bool | None:
        return self._at_work.get(run_id)


class PostgresRunSign(RunSign):
    """One step of a run, as all machines see it."""

    def __init__(self, url: str, run_id: str) -> None:
        self._server = Server(address_of(url))
        self._worker = PostgresWorker(self._server, None)
        self._run_id = run_id

    def begin(self) -> bool:
        with suppress(MmmetaError):  # the step itself says what is wrong with the server
            self._worker.start()
        self._say("DELETE FROM runs WHERE run_id = %s AND NOT at_work", (self._run_id,), at_work=True)
        return True

    def beat(self) -> None:
        with suppress(MmmetaError):
            self._worker.stay()
        self._say(at_work=True)

    def end(self) -> None:
        old = f"DELETE FROM runs WHERE beat < {_NOW} - CASE WHEN at_work THEN %s ELSE %s END"
        self._say(old, (KEPT, _KEPT_AFTER_END), at_work=False)
        self._worker.stop()
        self._server.close()

    def _say(self, before: str = "", parameters: tuple[Any, ...] = (), *, at_work: bool) -> None:
        with suppress(MmmetaError), self._server.transaction() as transaction:
            if before:
                transaction.execute(before, parameters)
            transaction.execute(
                f"INSERT INTO runs VALUES (%s, %s, {_NOW}, %s) ON CONFLICT (run_id, worker) "
                "DO UPDATE SET beat = excluded.beat, at_work = excluded.at_work",
                (self._run_id, self._worker.name, at_work),
            )
