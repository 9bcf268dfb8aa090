"""The ledger: per job and file, what happened.

A claim is a lease with a token that grows; settling a claim whose token another has raised since changes nothing. What
makes files pending is the subject of ``selection``, what the ledger says in numbers that of ``ledger_view``.
"""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from mmmeta.catalog.catalog import Catalog
from mmmeta.clock import to_text
from mmmeta.state.candidates import REASONS, RETRACTED, JobRules, Selection
from mmmeta.state.ledger.outcomes import ERROR_LINES, Claim, Outcome, Settled
from mmmeta.state.liveness import boot_id, boot_seconds, is_dead

__all__ = ["ERROR_LINES", "Claim", "Ledger", "Outcome", "Settled"]

LONGEST_BACKOFF = 86_400.0
"""Seconds; a file that failed is due again after a day at the latest."""

WORKER_DIED = "WorkerDied"
LEASE_ENDED = "LeaseEnded"
"""Error types of files whose worker did not say how they ended."""

HISTORY_DAYS = 90
"""How long attempts are kept; longer costs space in the state db, about 200 bytes each."""

_GIVEN_BACK = (
    "SET status = 'pending', attempts = attempts - 1, token = token + 1, lease_until = NULL, worker = NULL "
    "WHERE job = ? AND status = 'claimed'"
)


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

    def changed(self, claim: Claim) -> bool:
        """Whether the file is another than the one that was claimed: changed, deleted or back."""
        return not self.current or bool(self.deleted) != claim.retract


class Ledger:
    """One job's part of the ledger; every method works inside the caller's transaction of the state db.

    Args:
        connection: the state db's, in a transaction.
        workers: folder of the workers' locks.
        now: aware UTC.
    """

    def __init__(
        self, connection: sqlite3.Connection, catalog: Catalog, rules: JobRules, workers: Path, now: datetime
    ) -> None:
        self.connection = connection
        self._catalog = catalog
        self._rules = rules
        self._workers = workers
        self._now = now
        self._stamp = to_text(now)
        self.selection = Selection(connection, catalog, rules, now)
        self._basis = self.selection.basis_sql

    def claim(
        self,
        count: int,
        *,
        worker: str,
        run_id: str | None,
        lease: float,
        without: Sequence[str] = (),
        among: Sequence[str] | None = None,
    ) -> list[Claim]:
        """Take up to so many pending files; what came due, and what dead workers held, is pending again first.

        A file over which a worker died or fell silent comes alone, so that it takes no others with it if it was the reason.

        Args:
            without: files to leave alone.
            among: the files to take from; all unless given.
        """
        self._take_back()
        descending = self._rules.order_by is not None and self._rules.order_by.startswith("-")
        # Both keys in one direction: the index is read forwards or backwards, and nothing is sorted.
        order = "priority DESC, file DESC" if descending else "priority, file"
        # By the names where they are given, else in the order of the index of what is pending.
        source = "ledger INDEXED BY ledger_pending" if among is None else "ledger"
        named = "" if among is None else f"AND file IN ({_marks(among)}) "
        rows = self.connection.execute(
            f"SELECT file, token + 1, attempts + 1, retract, asked, error_type IN (?, ?) FROM {source} WHERE job = ? "
            f"AND status = 'pending' {named}AND file NOT IN ({_marks(without)}) ORDER BY {order} LIMIT ?",
            (WORKER_DIED, LEASE_ENDED, self._rules.name, *(among or ()), *without, count),
        ).fetchall()
        taken = list(takewhile(lambda row: not row[5], rows)) or rows[:1]
        claims = [Claim(file, token, attempt, bool(undo), asked) for file, token, attempt, undo, asked, _ in taken]
        current = f"(SELECT {self._basis} FROM files WHERE {self._catalog.unique_sql} = ledger.file)"
        until, boot = boot_seconds() + lease, boot_id()
        claimed = self.connection.executemany(
            f"UPDATE ledger SET status = 'claimed', token = ?, attempts = ?, tried = {current}, lease_until = ?, "
            "boot = ?, worker = ?, run_id = ?, claimed_at = ?, due = NULL WHERE job = ? AND file = ?",
            [
                (claim.token, claim.attempt, until, boot, worker, run_id, self._stamp, self._rules.name, claim.file)
                for claim in claims
            ],
        ).rowcount
        if claims and claimed != len(claims):
            # Going on would claim the same files for ever.
            raise sqlite3.DatabaseError("malformed: the index of what is pending names files that the ledger has not")
        self.beat(run_id)
        return claims

    def _take_back(self) -> None:
        name = self._rules.name
        self.connection.execute(
            "UPDATE ledger INDEXED BY ledger_failed SET status = 'pending', due = NULL "
            "WHERE job = ? AND status = 'failed' AND due <= ?",
            (name, self._now.timestamp()),
        )
        # SQLite's state db is on one host: a lease of another boot is void, and the file is not to blame.
        self._give_back("boot <> ?", boot_id())
        workers = self.connection.execute(
            "SELECT DISTINCT worker FROM ledger INDEXED BY ledger_claimed WHERE job = ? AND status = 'claimed'", (name,)
        ).fetchall()
        for (worker,) in workers:
            if is_dead(self._workers, worker):
                self._take_from(
                    "worker = ?", worker, WORKER_DIED, "the process that worked on it was killed or crashed"
                )
        self._take_from("lease_until <= ?", boot_seconds(), LEASE_ENDED, "its worker gave no sign of life for too long")

    def _take_from(self, condition: str, parameter: str | float, error_type: str, message: str) -> None:
        """Take claims from a worker that is gone; a file that this happens to as often as it may fail is dead.

        Of several files nobody knows which it was: they come again, each alone, and only then it counts.
        """
        claimed = self._claimed(condition, parameter)
        together = Counter(claimed.values())
        # What was being undone may be half undone: it counts as not done any more.
        self.connection.executemany(
            "UPDATE ledger SET status = CASE WHEN ?1 AND attempts >= ?2 THEN 'dead' ELSE 'pending' END, token = token + 1, "
            "attempts = CASE WHEN ?1 THEN attempts ELSE attempts - 1 END, "
            "basis = CASE WHEN retract THEN NULL ELSE basis END, error_type = ?3, error_message = ?4, "
            "error_lines = NULL, settled_at = ?5, lease_until = NULL, worker = NULL WHERE job = ?6 AND file = ?7",
            [
                (together[worker] == 1, self._rules.attempts, error_type, message, self._stamp, self._rules.name, file)
                for file, worker in claimed.items()
            ],
        )
        self.selection.look_again(list(claimed))

    def _claimed(self, condition: str, parameter: str | float) -> dict[str, str]:
        """The claimed files that a condition means, and who has each."""
        rows = self.connection.execute(
            f"SELECT file, worker FROM ledger INDEXED BY ledger_claimed WHERE job = ? AND status = 'claimed' AND {condition}",
            (self._rules.name, parameter),
        )
        return dict(rows.fetchall())

    def renew(self, worker: str, lease: float, run_id: str | None) -> None:
        """Prolong this worker's leases."""
        self.connection.execute(
            "UPDATE ledger INDEXED BY ledger_claimed SET lease_until = ? WHERE job = ? AND status = 'claimed' AND worker = ?",
            (boot_seconds() + lease, self._rules.name, worker),
        )
        self.beat(run_id)

    def beat(self, run_id: str | None) -> None:
        """Say that a run of this job lives."""
        self.connection.execute(
            "UPDATE jobs SET heartbeat = ?, run_id = ? WHERE job = ?", (self._stamp, run_id, self._rules.name)
        )

    def settle(self, outcomes: Sequence[Outcome], *, run_id: str | None, worker: str) -> list[Settled]:
        """Record how claimed files ended."""
        held = self._held([outcome.claim.file for outcome in outcomes])
        settled: list[Settled] = []
        for outcome in outcomes:
            claim = held.get(outcome.claim.file)
            lost = claim is None or claim.token != outcome.claim.token
            settled.append(Settled(outcome, "lost" if lost else self._status_after(outcome)))
        ours = [entry for entry in settled if entry.status != "lost"]
        self._write_outcomes(ours, held)
        changed = [entry.outcome.claim for entry in ours if held[entry.outcome.claim.file].changed(entry.outcome.claim)]
        if changed:
            self.selection.look_again([claim.file for claim in changed])
            now = {claim.file: self._status(claim.file) for claim in changed}
            settled = [
                entry
                if entry.status == "lost"
                else replace(entry, status=now.get(entry.outcome.claim.file, entry.status))
                for entry in settled
            ]
        self.connection.executemany(
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
                    _attempt_status(entry),
                    entry.outcome.error_type,
                    entry.outcome.error_message,
                    entry.outcome.bytes,
                )
                for entry in settled
            ],
        )
        return settled

    def _status(self, file: str) -> str:
        return str(
            self.connection.execute(
                "SELECT status FROM ledger WHERE job = ? AND file = ?", (self._rules.name, file)
            ).fetchone()[0]
        )

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
            rows = self.connection.execute(f"{sql}({_marks(chunk)})", (self._rules.name, *chunk))
            held.update((row[0], _Held(*row[1:])) for row in rows)
        return held

    def _status_after(self, outcome: Outcome) -> str:
        if outcome.ok:
            return "skipped" if outcome.claim.retract else "done"
        return "dead" if outcome.claim.attempt >= self._rules.attempts else "failed"

    def _write_outcomes(self, settled: Sequence[Settled], held: Mapping[str, _Held]) -> None:
        rows = []
        for entry in settled:
            outcome, claim = entry.outcome, held[entry.outcome.claim.file]
            retract = outcome.claim.retract
            processed = outcome.ok and not retract
            known = processed and claim.current
            rows.append(
                (
                    entry.status,
                    self._due(outcome.claim.attempt) if entry.status == "failed" else None,
                    RETRACTED if entry.status == "skipped" else outcome.error_type,
                    REASONS[RETRACTED] if entry.status == "skipped" else outcome.error_message,
                    outcome.error_lines,
                    outcome.bytes,
                    self._stamp,
                    # What failed to be undone may be half undone: it counts as not done as well.
                    "none" if retract else "tried" if processed else "kept",
                    claim.content if known else None,
                    claim.revision if known else None,
                    retract and not outcome.ok,
                    self._rules.name,
                    outcome.claim.file,
                    outcome.claim.token,
                )
            )
        self.connection.executemany(
            "UPDATE ledger SET status = ?1, due = ?2, error_type = ?3, error_message = ?4, error_lines = ?5, bytes = ?6, "
            "settled_at = ?7, lease_until = NULL, worker = NULL, "
            "basis = CASE ?8 WHEN 'tried' THEN tried WHEN 'kept' THEN basis END, "
            "content = ifnull(?9, content), rev = ifnull(?10, rev), retract = ?11 "
            "WHERE job = ?12 AND file = ?13 AND token = ?14",
            rows,
        )

    def _due(self, attempt: int) -> float:
        """When a file that failed so many times is tried again, seconds since 1970."""
        doubled = self._rules.backoff * 2.0 ** min(attempt - 1, 60)
        return self._now.timestamp() + min(doubled, LONGEST_BACKOFF) * random.uniform(0.75, 1.25)

    def release(self, claims: Sequence[Claim]) -> None:
        """Give claims back untried."""
        sql = f"UPDATE ledger {_GIVEN_BACK} AND file = ? AND token = ?"
        ours = [
            claim.file
            for claim in claims
            if self.connection.execute(sql, (self._rules.name, claim.file, claim.token)).rowcount
        ]
        self.selection.look_again(ours)

    def give_back(self, worker: str) -> None:
        """Give back all that a worker still holds, untried."""
        self._give_back("worker = ?", worker)

    def _give_back(self, condition: str, parameter: str) -> None:
        files = self._claimed(condition, parameter)
        if files:
            self.connection.execute(
                f"UPDATE ledger INDEXED BY ledger_claimed {_GIVEN_BACK} AND {condition}", (self._rules.name, parameter)
            )
            self.selection.look_again(list(files))

    def retry(self, *, dead: bool, files: Sequence[str] | None) -> int:
        """Make failed files (and dead ones) pending now, or just the named ones, done ones included; returns how many."""
        again = (
            "SET status = 'pending', attempts = 0, token = token + 1, due = NULL, "
            "asked = CASE WHEN status = 'done' THEN token + 1 ELSE asked END, "
            # It waits since it was asked for, not since it was first selected.
            "selected_at = CASE WHEN status = 'failed' THEN selected_at ELSE ? END WHERE job = ?"
        )
        name = self._rules.name
        if files is None:
            return sum(
                self.connection.execute(
                    f"UPDATE ledger INDEXED BY ledger_{status} {again} AND status = '{status}'", (self._stamp, name)
                ).rowcount
                for status in (("failed", "dead") if dead else ("failed",))
            )
        return sum(
            self.connection.execute(
                f"UPDATE ledger {again} AND file = ? AND (+status IN ('failed', 'dead') OR (status = 'done' AND EXISTS "
                f"(SELECT 1 FROM files WHERE {self._catalog.unique_sql} = ledger.file AND NOT files.__deleted)))",
                (self._stamp, name, file),
            ).rowcount
            for file in files
        )

    def adopt(self, files: Iterable[str]) -> int:
        """Take selected files for done in the version they have now, because they are already where they should be.

        Files that are claimed, done already, or not selected are left alone; returns how many were taken.
        """
        rules = self._rules
        self.connection.execute("CREATE TEMP TABLE IF NOT EXISTS adopted (file TEXT PRIMARY KEY)")
        self.connection.execute("DELETE FROM temp.adopted")
        self.connection.executemany("INSERT OR IGNORE INTO temp.adopted VALUES (?)", ((file,) for file in files))
        which = "job = ? AND status IN ('pending', 'failed', 'dead') AND NOT retract AND file IN temp.adopted"
        self.connection.execute(
            "INSERT INTO attempts (job, file, token, started_at, ended_at, status) "
            f"SELECT job, file, token + 1, ?, ?, 'adopted' FROM ledger WHERE {which}",
            (self._stamp, self._stamp, rules.name),
        )
        content = f"CAST({self._catalog.compiler.value(rules.content_key)} AS TEXT)"
        file = f"FROM files WHERE {self._catalog.unique_sql} = ledger.file"
        return self.connection.execute(
            f"UPDATE ledger SET status = 'done', basis = (SELECT {self._basis} {file}), tried = (SELECT {self._basis} {file}), "
            f"content = (SELECT {content} {file}), rev = (SELECT files.__rev {file}), attempts = 0, token = token + 1, "
            "due = NULL, run_id = NULL, error_type = NULL, error_message = NULL, error_lines = NULL, settled_at = ? "
            f"WHERE {which}",
            (self._stamp, rules.name),
        ).rowcount

    def forget(self) -> int:
        """Remove all that is known of the job; returns of how many files.

        Tokens go on from where they were: receipts in a target outlive the ledger, and would refuse smaller ones.
        """
        name = self._rules.name
        self.connection.execute(
            "UPDATE info SET value = max(value, (SELECT ifnull(max(token), 0) + 1 FROM ledger WHERE job = ?)) "
            "WHERE name = 'token_base'",
            (name,),
        )
        count = self.connection.execute("DELETE FROM ledger WHERE job = ?", (name,)).rowcount
        for table in ("ledger_counts", "attempts", "jobs"):
            self.connection.execute(f"DELETE FROM {table} WHERE job = ?", (name,))
        return int(count)

    def trim_history(self) -> None:
        """Remove attempts that are older than ``HISTORY_DAYS``; the ledger keeps how each file ended last."""
        before = to_text(self._now - timedelta(days=HISTORY_DAYS))
        row = self.connection.execute("SELECT ended_at FROM attempts ORDER BY id LIMIT 1").fetchone()
        while row is not None and row[0] < before:
            # The oldest come first, so nothing is read that stays.
            deleted = self.connection.execute(
                "DELETE FROM attempts WHERE id IN (SELECT id FROM attempts ORDER BY id LIMIT 1000) AND ended_at < ?",
                (before,),
            ).rowcount
            row = self.connection.execute("SELECT ended_at FROM attempts ORDER BY id LIMIT 1").fetchone()
            if not deleted:
                break


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))


def _attempt_status(settled: Settled) -> str:
    """How an attempt went, whatever the ledger makes of it."""
    outcome = settled.outcome
    if settled.status == "lost":
        return "lost"
    if not outcome.ok:
        return "dead" if settled.status == "dead" else "failed"
    return "retracted" if outcome.claim.retract else "done"
