"""The ledger: per job and file, what happened.

A claim is a lease with a token that grows; settling a claim whose token another has raised since changes nothing. What
makes files pending is the subject of ``selection``, what the ledger says in numbers that of ``ledger_view``.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from mmmeta.catalog import Catalog
from mmmeta.clock import to_text
from mmmeta.selection import DELETED, JobRules, Selection
from mmmeta.workers import boot_id, boot_seconds, is_dead

LONGEST_BACKOFF = 86_400.0
"""Seconds; a file that failed is due again after a day at the latest."""

WORKER_DIED = "WorkerDied"
LEASE_ENDED = "LeaseEnded"
"""Error types of files whose worker did not say how they ended."""

ERROR_LINES = 4_000
"""Characters of a traceback that are kept."""


@dataclass(frozen=True)
class Claim:
    """One file in this worker's hands; ``attempt`` counts from 1."""

    file: str
    token: int
    attempt: int


@dataclass(frozen=True)
class Outcome:
    """How a claimed file ended; ``error`` is None where it was done."""

    claim: Claim
    error_type: str | None = None
    error_message: str | None = None
    error_lines: str | None = None
    bytes: int | None = None

    @property
    def ok(self) -> bool:
        return self.error_type is None


@dataclass(frozen=True)
class Settled:
    """What the ledger made of an outcome: ``done``, ``failed``, ``dead``, ``pending`` (it changed meanwhile) or ``lost``
    (the claim had passed to another)."""

    outcome: Outcome
    status: str


class _Held(NamedTuple):
    """A claimed file and its present version.

    Attributes:
        since: when it was claimed.
        current: whether the version that was claimed is still the one that counts.
    """

    token: int
    since: str
    current: int
    deleted: int
    content: str | None
    revision: int | None


class Ledger:
    """One job's part of the ledger; every method works inside the caller's transaction of the state db.

    Args:
        workers: folder of the workers' locks.
        now: aware UTC.
    """

    def __init__(
        self, connection: sqlite3.Connection, catalog: Catalog, rules: JobRules, workers: Path, now: datetime
    ) -> None:
        self._connection = connection
        self._catalog = catalog
        self._rules = rules
        self._workers = workers
        self._now = now
        self._stamp = to_text(now)
        self.selection = Selection(connection, catalog, rules, now)
        self._basis = self.selection.basis_sql

    def claim(
        self, count: int, *, worker: str, run_id: str | None, lease: float, without: Sequence[str] = ()
    ) -> list[Claim]:
        """Take up to so many pending files; what came due, and what dead workers held, is pending again first.

        A file in whose hands a worker died comes alone, so that it takes no others with it if it was the reason.

        Args:
            without: files to leave alone.
        """
        self._take_back()
        descending = self._rules.order_by is not None and self._rules.order_by.startswith("-")
        # Both keys in one direction: the index is read forwards or backwards, and nothing is sorted.
        order = "priority DESC, file DESC" if descending else "priority, file"
        rows = self._connection.execute(
            "SELECT file, token + 1, attempts + 1, error_type IS ? FROM ledger WHERE job = ? AND status = 'pending' "
            f"AND file NOT IN ({', '.join('?' * len(without))}) ORDER BY {order} LIMIT ?",
            (WORKER_DIED, self._rules.name, *without, count),
        ).fetchall()
        claims = [Claim(*row[:3]) for row in takewhile(lambda row: not row[3], rows)]
        if rows and not claims:
            claims = [Claim(*rows[0][:3])]
        current = f"(SELECT {self._basis} FROM files WHERE {self._catalog.unique_sql} = ledger.file)"
        until, boot = boot_seconds() + lease, boot_id()
        self._connection.executemany(
            f"UPDATE ledger SET status = 'claimed', token = ?, attempts = ?, tried = {current}, lease_until = ?, "
            "boot = ?, worker = ?, run_id = ?, claimed_at = ?, due = NULL WHERE job = ? AND file = ?",
            [
                (claim.token, claim.attempt, until, boot, worker, run_id, self._stamp, self._rules.name, claim.file)
                for claim in claims
            ],
        )
        self.beat(run_id)
        return claims

    def _take_back(self) -> None:
        name = self._rules.name
        self._connection.execute(
            "UPDATE ledger SET status = 'pending', due = NULL WHERE job = ? AND status = 'failed' AND due <= ?",
            (name, self._now.timestamp()),
        )
        # SQLite's state db is on one host: a lease of another boot is void, and the file is not to blame.
        self._connection.execute(
            "UPDATE ledger SET status = 'pending', token = token + 1, attempts = attempts - 1 "
            "WHERE job = ? AND status = 'claimed' AND boot <> ?",
            (name, boot_id()),
        )
        workers = self._connection.execute(
            "SELECT DISTINCT worker FROM ledger WHERE job = ? AND status = 'claimed'", (name,)
        ).fetchall()
        for (worker,) in workers:
            if is_dead(self._workers, worker):
                self._take_from(
                    "worker = ?", worker, WORKER_DIED, "the process that worked on it was killed or crashed"
                )
        self._take_from("lease_until <= ?", boot_seconds(), LEASE_ENDED, "its worker gave no sign of life for too long")

    def _take_from(self, condition: str, parameter: str | float, error_type: str, message: str) -> None:
        """Take claims from a worker that is gone; a file that this happens to as often as it may fail is dead."""
        self._connection.execute(
            "UPDATE ledger SET status = CASE WHEN attempts >= ? THEN 'dead' ELSE 'pending' END, token = token + 1, "
            "error_type = ?, error_message = ?, error_lines = NULL, settled_at = ?, lease_until = NULL, worker = NULL "
            f"WHERE job = ? AND status = 'claimed' AND {condition}",
            (self._rules.attempts, error_type, message, self._stamp, self._rules.name, parameter),
        )

    def renew(self, worker: str, lease: float, run_id: str | None) -> None:
        """Prolong this worker's leases."""
        self._connection.execute(
            "UPDATE ledger SET lease_until = ? WHERE job = ? AND status = 'claimed' AND worker = ?",
            (boot_seconds() + lease, self._rules.name, worker),
        )
        self.beat(run_id)

    def beat(self, run_id: str | None) -> None:
        """Say that a run of this job lives."""
        self._connection.execute(
            "UPDATE jobs SET heartbeat = ?, run_id = ? WHERE job = ?", (self._stamp, run_id, self._rules.name)
        )

    def settle(self, outcomes: Sequence[Outcome], *, run_id: str | None, worker: str) -> list[Settled]:
        """Record how claimed files ended."""
        held = self._held([outcome.claim.file for outcome in outcomes])
        settled: list[Settled] = []
        for outcome in outcomes:
            claim = held.get(outcome.claim.file)
            lost = claim is None or claim.token != outcome.claim.token
            settled.append(Settled(outcome, "lost" if claim is None or lost else self._status_after(outcome, claim)))
        self._write_outcomes([entry for entry in settled if entry.status != "lost"], held)
        self._connection.executemany(
            "INSERT INTO attempts (job, file, token, run_id, worker, started_at, ended_at, status, error_type, "
            "error_message, bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    self._rules.name,
                    entry.outcome.claim.file,
                    entry.outcome.claim.token,
                    run_id,
                    worker,
                    held[entry.outcome.claim.file].since if entry.status != "lost" else None,
                    self._stamp,
                    "done" if entry.outcome.ok and entry.status == "pending" else entry.status,
                    entry.outcome.error_type,
                    entry.outcome.error_message,
                    entry.outcome.bytes,
                )
                for entry in settled
            ],
        )
        return settled

    def _held(self, files: Sequence[str]) -> dict[str, _Held]:
        """What is claimed of these files, by whomever."""
        content = self._catalog.compiler.value(self._rules.content_key)
        sql = (
            f"SELECT ledger.file, token, claimed_at, tried IS {self._basis}, ifnull(files.__deleted, 1), "
            f"CAST({content} AS TEXT), files.__rev FROM ledger "
            f"LEFT JOIN files ON {self._catalog.unique_sql} = ledger.file "
            "WHERE job = ? AND status = 'claimed' AND ledger.file IN "
        )
        held: dict[str, _Held] = {}
        for start in range(0, len(files), 500):
            chunk = files[start : start + 500]
            rows = self._connection.execute(f"{sql}({', '.join('?' * len(chunk))})", (self._rules.name, *chunk))
            held.update((row[0], _Held(*row[1:])) for row in rows)
        return held

    def _status_after(self, outcome: Outcome, held: _Held) -> str:
        if outcome.ok:
            return "done" if held.current or held.deleted else "pending"
        if not held.current:
            return "pending"  # a new version came while the old one failed: it starts afresh
        return "dead" if outcome.claim.attempt >= self._rules.attempts else "failed"

    def _write_outcomes(self, settled: Sequence[Settled], held: Mapping[str, _Held]) -> None:
        rows = []
        for entry in settled:
            outcome, claim = entry.outcome, held[entry.outcome.claim.file]
            processed = outcome.ok and claim.current
            rows.append(
                (
                    entry.status,
                    self._due(outcome.claim.attempt) if entry.status == "failed" else None,
                    outcome.error_type,
                    outcome.error_message,
                    outcome.error_lines,
                    outcome.bytes,
                    self._stamp,
                    outcome.ok,
                    claim.content if processed else None,
                    claim.revision if processed else None,
                    self._rules.name,
                    outcome.claim.file,
                    outcome.claim.token,
                )
            )
        self._connection.executemany(
            "UPDATE ledger SET status = ?1, due = ?2, error_type = ?3, error_message = ?4, error_lines = ?5, bytes = ?6, "
            "settled_at = ?7, lease_until = NULL, worker = NULL, "
            "attempts = CASE WHEN ?1 = 'pending' THEN 0 ELSE attempts END, "
            "basis = CASE WHEN ?8 THEN tried ELSE basis END, "
            "content = ifnull(?9, content), rev = ifnull(?10, rev) WHERE job = ?11 AND file = ?12 AND token = ?13",
            rows,
        )

    def _due(self, attempt: int) -> float:
        """When a file that failed so many times is tried again, seconds since 1970."""
        doubled = self._rules.backoff * 2.0 ** min(attempt - 1, 60)
        return self._now.timestamp() + min(doubled, LONGEST_BACKOFF) * random.uniform(0.75, 1.25)

    def release(self, claims: Sequence[Claim]) -> None:
        """Give claims back untried."""
        self._connection.executemany(
            "UPDATE ledger SET status = 'pending', attempts = attempts - 1, token = token + 1, lease_until = NULL, "
            "worker = NULL WHERE job = ? AND file = ? AND status = 'claimed' AND token = ?",
            [(self._rules.name, claim.file, claim.token) for claim in claims],
        )

    def skip(self, claims: Sequence[Claim]) -> None:
        """Set aside claimed files that were deleted before their turn."""
        self._connection.executemany(
            "UPDATE ledger SET status = 'skipped', attempts = attempts - 1, error_message = ?, lease_until = NULL, "
            "worker = NULL WHERE job = ? AND file = ? AND status = 'claimed' AND token = ?",
            [(DELETED, self._rules.name, claim.file, claim.token) for claim in claims],
        )

    def retry(self, *, dead: bool, files: Sequence[str] | None) -> int:
        """Make failed files (and dead ones) pending now; returns how many."""
        statuses = "('failed', 'dead')" if dead else "('failed')"
        sql = (
            "UPDATE ledger SET status = 'pending', attempts = 0, token = token + 1, due = NULL "
            f"WHERE job = ? AND status IN {statuses}"
        )
        if files is None:
            return int(self._connection.execute(sql, (self._rules.name,)).rowcount)
        return sum(self._connection.execute(f"{sql} AND file = ?", (self._rules.name, file)).rowcount for file in files)
