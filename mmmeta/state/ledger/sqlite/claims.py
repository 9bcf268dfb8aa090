"""Claims in the state db: leases, the places that are given with them, and how files ended.

A claim is a lease with a token that grows; settling a claim whose token another has raised since changes nothing.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from mmmeta.chunks import PER_STATEMENT, in_chunks
from mmmeta.clock import to_text
from mmmeta.state.ledger.outcomes import Claim, Holder, Outcome, Place, Settled
from mmmeta.state.ledger.rules import ACTION, LEASE_ENDED, REASONS, RETRACTED, WORKER_DIED, JobRules, latest_due
from mmmeta.state.ledger.sqlite.offers import Offers
from mmmeta.state.ledger.sqlite.places import Kept, Places
from mmmeta.state.ledger.sqlite.tables import PLACE, read_place
from mmmeta.state.ledger.store import Ledger
from mmmeta.state.liveness import boot_id, boot_seconds, is_dead, sweep

_GIVEN_BACK = (
    "SET status = 'pending', attempts = attempts - 1, token = token + 1, lease_until = NULL, worker = NULL "
    "WHERE job = ? AND status = 'claimed'"
)


_SETTLE = (
    "UPDATE ledger SET status = ?1, due = ?2, error_type = ?3, error_message = ?4, error_lines = ?5, bytes = ?6, "
    "settled_at = ?7, lease_until = NULL, worker = NULL, "
    "basis = CASE ?8 WHEN 'tried' THEN tried WHEN 'kept' THEN basis END, retract = ?9, "
    "target = CASE WHEN ?10 THEN ?11 ELSE target END, place = CASE WHEN ?10 THEN ?12 ELSE place END, "
    "mark = CASE WHEN ?10 THEN ?13 ELSE mark END, replaced_by = CASE WHEN ?10 THEN ?14 ELSE replaced_by END "
    "WHERE job = ?15 AND file = ?16 AND token = ?17"
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

    def changed(self, claim: Claim) -> bool:
        """Whether the file is another than the one that was claimed: changed, deleted or back."""
        return not self.current or bool(self.deleted) != claim.retract


class Claims(Ledger):
    """The part of a job's ledger that workers use.

    Args:
        connection: the state db's, in a transaction.
        workers: folder of the workers' locks.
        now: aware UTC.
    """

    def __init__(self, connection: sqlite3.Connection, rules: JobRules, workers: Path, now: datetime) -> None:
        self.rules = rules
        self._connection = connection
        self._workers = workers
        self._now = now
        self._stamp = to_text(now)
        self._offers = Offers(connection, rules, self._stamp)
        self._places = Places(connection, rules.name, self._stamp)

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
        self._take_back(lease)
        # Both keys in one direction: the index is read forwards or backwards, and nothing is sorted.
        order = "priority DESC, file DESC" if self.rules.descending else "priority, file"
        # By the names where they are given, else in the order of the index of what is pending.
        source = "ledger INDEXED BY ledger_pending" if among is None else "ledger"
        named = "" if among is None else f"AND file IN ({_marks(among)}) "
        rows = self._connection.execute(
            f"SELECT file, token + 1, attempts + 1, retract, asked, error_type IN (?, ?), replaced_by, {PLACE} "
            f"FROM {source} WHERE job = ? AND status = 'pending' {named}AND file NOT IN ({_marks(without)}) "
            f"ORDER BY {order} LIMIT ?",
            (WORKER_DIED, LEASE_ENDED, self.rules.name, *(among or ()), *without, count),
        ).fetchall()
        taken = list(takewhile(lambda row: not row[5], rows)) or rows[:1]
        claims = [
            Claim(
                file,
                token,
                attempt,
                bool(undo),
                asked,
                read_place(at, file),
                self._places.older(file) if undo else (),
                replaced_by is not None,
            )
            for file, token, attempt, undo, asked, _, replaced_by, *at in taken
        ]
        until, boot = boot_seconds() + lease, boot_id()
        claimed = self._connection.executemany(
            "UPDATE ledger SET status = 'claimed', token = ?, attempts = ?, tried = wanted, lease_until = ?, "
            "boot = ?, worker = ?, run_id = ?, claimed_at = ?, due = NULL WHERE job = ? AND file = ?",
            [
                (claim.token, claim.attempt, until, boot, worker, run_id, self._stamp, self.rules.name, claim.file)
                for claim in claims
            ],
        ).rowcount
        if claims and claimed != len(claims):
            # Going on would claim the same files for ever.
            raise sqlite3.DatabaseError("malformed: the index of what is pending names files that the ledger has not")
        self._beat(run_id)
        return claims

    def _take_back(self, lease: float) -> None:
        name = self.rules.name
        for due, moment in (("due <= ?", self._now.timestamp()), ("due > ?", latest_due(self._now))):
            self._connection.execute(
                "UPDATE ledger INDEXED BY ledger_failed SET status = 'pending', due = NULL "
                f"WHERE job = ? AND status = 'failed' AND {due}",
                (name, moment),
            )
        held = self._connection.execute(
            "SELECT DISTINCT worker, boot FROM ledger INDEXED BY ledger_claimed WHERE job = ? AND status = 'claimed'",
            (name,),
        ).fetchall()
        for worker, boot in held:
            if not is_dead(self._workers, worker):
                if boot != boot_id():
                    self._measure_anew(worker, lease)
            elif boot == boot_id():
                self._take_from(
                    "worker = ?", worker, WORKER_DIED, "the process that worked on it was killed or crashed"
                )
            else:
                self._give_back("worker = ?", worker)  # the host was started anew: the file is not to blame
        self._take_from("lease_until <= ?", boot_seconds(), LEASE_ENDED, "its worker gave no sign of life for too long")
        holders = self._connection.execute(
            "SELECT DISTINCT worker FROM ledger INDEXED BY ledger_claimed "
            "WHERE job IN (SELECT job FROM jobs) AND status = 'claimed'"
        )
        sweep(self._workers, [worker for (worker,) in holders])

    def _measure_anew(self, worker: str, lease: float) -> None:
        """Count a lease in this host's seconds from now on: those of another boot cannot be compared with them.

        A worker of another host that lives renews it again and again, in its own.
        """
        self._connection.execute(
            "UPDATE ledger INDEXED BY ledger_claimed SET lease_until = ?, boot = ? "
            "WHERE job = ? AND status = 'claimed' AND worker = ?",
            (boot_seconds() + lease, boot_id(), self.rules.name, worker),
        )

    def _take_from(self, condition: str, parameter: str | float, error_type: str, message: str) -> None:
        """Take claims from a worker that is gone; a file that this happens to as often as it may fail is dead.

        Of several files nobody knows which it was: they come again, each alone, and only then it counts.
        """
        claimed = self._claimed(condition, parameter)
        together = Counter(claimed.values())
        # What was being undone may be half undone: it counts as not done any more.
        self._connection.executemany(
            "UPDATE ledger SET status = CASE WHEN ?1 AND attempts >= ?2 THEN 'dead' ELSE 'pending' END, token = token + 1, "
            "attempts = CASE WHEN ?1 THEN attempts ELSE attempts - 1 END, "
            "basis = CASE WHEN retract THEN NULL ELSE basis END, error_type = ?3, error_message = ?4, "
            "error_lines = NULL, settled_at = ?5, lease_until = NULL, worker = NULL WHERE job = ?6 AND file = ?7",
            [
                (together[worker] == 1, self.rules.attempts, error_type, message, self._stamp, self.rules.name, file)
                for file, worker in claimed.items()
            ],
        )
        self._offers.look_again(list(claimed))

    def _claimed(self, condition: str, parameter: str | float) -> dict[str, str]:
        """The claimed files that a condition means, and who has each."""
        rows = self._connection.execute(
            f"SELECT file, worker FROM ledger INDEXED BY ledger_claimed WHERE job = ? AND status = 'claimed' AND {condition}",
            (self.rules.name, parameter),
        )
        return dict(rows.fetchall())

    def renew(self, worker: str, lease: float, run_id: str | None) -> None:
        self._connection.execute(
            "UPDATE ledger INDEXED BY ledger_claimed SET lease_until = ?, boot = ? "
            "WHERE job = ? AND status = 'claimed' AND worker = ?",
            (boot_seconds() + lease, boot_id(), self.rules.name, worker),
        )
        self._beat(run_id)

    def _beat(self, run_id: str | None) -> None:
        self._connection.execute(
            "UPDATE jobs SET heartbeat = ?, run_id = ? WHERE job = ?", (self._stamp, run_id, self.rules.name)
        )

    def reserve(self, places: Mapping[str, Place]) -> dict[str, list[Holder]]:
        return self._places.reserve(places)

    def settle(self, outcomes: Sequence[Outcome], *, run_id: str | None, worker: str) -> list[Settled]:
        held = self._held([outcome.claim.file for outcome in outcomes])
        settled: list[Settled] = []
        for outcome in outcomes:
            claim = held.get(outcome.claim.file)
            lost = claim is None or claim.token != outcome.claim.token
            settled.append(Settled(outcome, "lost" if lost else self._status_after(outcome)))
            if lost:
                self._places.lost(outcome, undo=self.rules.on_delete == ACTION)
        ours = [entry for entry in settled if entry.status != "lost"]
        self._places.ended(entry.outcome.claim.file for entry in ours if not entry.outcome.claim.retract)
        self._write_outcomes(ours)
        changed = [entry.outcome.claim for entry in ours if held[entry.outcome.claim.file].changed(entry.outcome.claim)]
        if changed:
            self._offers.look_again([claim.file for claim in changed])
            now = {claim.file: self._status(claim.file) for claim in changed}
            settled = [
                entry
                if entry.status == "lost"
                else replace(entry, status=now.get(entry.outcome.claim.file, entry.status))
                for entry in settled
            ]
        self._connection.executemany(
            "INSERT INTO attempts (job, file, token, run_id, worker, started_at, ended_at, status, error_type, "
            "error_message, bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    self.rules.name,
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
            self._connection.execute(
                "SELECT status FROM ledger WHERE job = ? AND file = ?", (self.rules.name, file)
            ).fetchone()[0]
        )

    def _held(self, files: Sequence[str]) -> dict[str, _Held]:
        """What is claimed of these files, by whomever."""
        held: dict[str, _Held] = {}
        for chunk in in_chunks(files, PER_STATEMENT):
            rows = self._connection.execute(
                "SELECT file, token, claimed_at, tried IS wanted, deleted FROM ledger "
                f"WHERE job = ? AND +status = 'claimed' AND file IN ({_marks(chunk)})",
                (self.rules.name, *chunk),
            )
            held.update((row[0], _Held(*row[1:])) for row in rows)
        return held

    def _status_after(self, outcome: Outcome) -> str:
        if outcome.ok:
            return "skipped" if outcome.claim.retract else "done"
        return "dead" if outcome.claim.attempt >= self.rules.attempts else "failed"

    def _write_outcomes(self, settled: Sequence[Settled]) -> None:
        for entry in settled:
            outcome, retract = entry.outcome, entry.outcome.claim.retract
            due = None
            if entry.status == "failed":
                due = self._now.timestamp() + self.rules.retry_after(outcome.claim.attempt)
            # What failed to be undone may be half undone: it counts as not done, and is where it was.
            basis = "none" if retract else "tried" if outcome.ok else "kept"
            kept = Kept()
            if outcome.ok and retract:
                self._places.undone(outcome.claim)
            elif outcome.ok:
                kept = self._places.keep(outcome)
            # One by one: who has a place is read for the next.
            self._connection.execute(
                _SETTLE,
                (
                    entry.status,
                    due,
                    RETRACTED if entry.status == "skipped" else outcome.error_type,
                    REASONS[RETRACTED] if entry.status == "skipped" else outcome.error_message,
                    outcome.error_lines,
                    outcome.bytes,
                    self._stamp,
                    basis,
                    retract and not outcome.ok,
                    outcome.ok,
                    *kept,
                    self.rules.name,
                    outcome.claim.file,
                    outcome.claim.token,
                ),
            )

    def release(self, claims: Sequence[Claim]) -> None:
        sql = f"UPDATE ledger {_GIVEN_BACK} AND file = ? AND token = ?"
        ours = [
            claim.file
            for claim in claims
            if self._connection.execute(sql, (self.rules.name, claim.file, claim.token)).rowcount
        ]
        self._places.ended(ours)
        self._offers.look_again(ours)

    def give_back(self, worker: str) -> list[str]:
        self._places.ended(self._claimed("worker = ?", worker))
        return self._give_back("worker = ?", worker)

    def _give_back(self, condition: str, parameter: str) -> list[str]:
        files = list(self._claimed(condition, parameter))
        if files:
            self._connection.execute(
                f"UPDATE ledger INDEXED BY ledger_claimed {_GIVEN_BACK} AND {condition}", (self.rules.name, parameter)
            )
            self._offers.look_again(files)
        return files


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
