"""Claims in the state db: leases, the places that are given with them, and how files ended.

A claim is a lease with a token that grows; settling a claim whose token another has raised since changes nothing.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from mmmeta.chunks import PER_STATEMENT, in_chunks
from mmmeta.clock import to_text
from mmmeta.state.ledger.outcomes import Claim, Holder, Outcome, Place, Postponed, Settled
from mmmeta.state.ledger.rules import (
    ACTION,
    INTERRUPTED,
    LEASE_ENDED,
    LONGEST_BACKOFF,
    REASONS,
    RETRACTED,
    WORKER_DIED,
    JobRules,
    latest_due,
    wait_beyond,
)
from mmmeta.state.ledger.sqlite.attempts import note_attempts, refusals
from mmmeta.state.ledger.sqlite.behind import is_received, raise_tokens
from mmmeta.state.ledger.sqlite.offers import Offers
from mmmeta.state.ledger.sqlite.places import Kept, Places
from mmmeta.state.ledger.sqlite.tables import IS_SUSPECT, PLACE, read_place
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
    "once_basis = CASE ?8 WHEN 'tried' THEN once_tried WHEN 'kept' THEN once_basis END, "
    "target = CASE WHEN ?10 THEN ?11 ELSE target END, place = CASE WHEN ?10 THEN ?12 ELSE place END, "
    "mark = CASE WHEN ?10 THEN ?13 ELSE mark END, replaced_by = CASE WHEN ?10 THEN ?14 ELSE replaced_by END, "
    "attempts = attempts - ?18 "
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
        claims = self._next(count, without, among) or self._next(1, without, among, suspects=True)
        until, boot = boot_seconds() + lease, boot_id()
        claimed = self._connection.executemany(
            "UPDATE ledger SET status = 'claimed', token = ?, attempts = ?, tried = wanted, once_tried = once, lease_until = ?, "
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

    def _next(
        self, count: int, without: Sequence[str], among: Sequence[str] | None, *, suspects: bool = False
    ) -> list[Claim]:
        """What a claim would take: of the files that nothing speaks against, or of those that may take others with them."""
        # Both keys in one direction: the index is read forwards or backwards, and nothing is sorted.
        order = "priority DESC, file DESC" if self.rules.descending else "priority, file"
        # By the names where they are given, else in the order of the index of what is pending.
        source = "ledger INDEXED BY ledger_pending" if among is None else "ledger"
        named = "" if among is None else f"AND file IN ({_marks(among)}) "
        rows = self._connection.execute(
            f"SELECT file, token + 1, attempts + 1, retract, asked, replaced_by, {PLACE} FROM {source} WHERE job = ? "
            f"AND status = 'pending' AND {IS_SUSPECT} = ? {named}AND file NOT IN ({_marks(without)}) ORDER BY {order} LIMIT ?",
            (self.rules.name, suspects, *(among or ()), *without, count),
        )
        return [
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
            for file, token, attempt, undo, asked, replaced_by, *at in rows.fetchall()
        ]

    def _take_back(self, lease: float) -> None:
        name = self.rules.name
        for due, moment in (("due <= ?", self._now.timestamp()), ("due > ?", latest_due(self._now))):
            self._connection.execute(
                "UPDATE ledger INDEXED BY ledger_failed SET status = 'pending', due = NULL "
                f"WHERE job = ? AND status = 'failed' AND {due}",
                (name, moment),
            )
        # Before anything is taken back: who is killed in the middle of this takes nothing back, and their locks still tell.
        holders = self._connection.execute(
            "SELECT DISTINCT worker FROM ledger INDEXED BY ledger_claimed "
            "WHERE job IN (SELECT job FROM jobs) AND status = 'claimed'"
        )
        sweep(self._workers, [worker for (worker,) in holders])
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
        """Take claims from a worker that is gone.

        Of several files nobody knows which it was: they come again, each alone, and only then it counts.
        """
        claimed = self._claimed(condition, parameter)
        together = Counter(claimed.values())
        self._take({file: together[worker] == 1 for file, worker in claimed.items()}, error_type, message)

    def _take(self, counts: Mapping[str, bool], error_type: str, message: str) -> None:
        """Take claimed files from their worker, each with or without an attempt that counts; a file that this happens to as
        often as it may fail is dead."""
        # What was being undone may be half undone: it counts as not done any more.
        self._connection.executemany(
            "UPDATE ledger SET status = CASE WHEN ?1 AND attempts >= ?2 THEN 'dead' ELSE 'pending' END, token = token + 1, "
            "attempts = CASE WHEN ?1 THEN attempts ELSE attempts - 1 END, "
            "basis = CASE WHEN retract THEN NULL ELSE basis END, error_type = ?3, error_message = ?4, "
            "error_lines = NULL, settled_at = ?5, lease_until = NULL, worker = NULL WHERE job = ?6 AND file = ?7",
            [
                (alone, self.rules.attempts, error_type, message, self._stamp, self.rules.name, file)
                for file, alone in counts.items()
            ],
        )
        self._offers.look_again(list(counts))

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
            if claim is None or claim.token != outcome.claim.token:
                settled.append(Settled(outcome, "lost"))
                self._places.lost(outcome, undo=self.rules.on_delete == ACTION)
            elif outcome.ahead is None:
                settled.append(Settled(outcome, self._status_after(outcome)))
            elif is_received(self._connection, outcome.claim, outcome.ahead):
                done = replace(outcome, error_type=None, error_message=None, error_lines=None)
                settled.append(Settled(done, self._status_after(done), behind=True))
            else:
                settled.append(Settled(outcome, "pending", behind=True))
        untried = {entry.outcome.claim.file: entry.outcome.claim for entry in settled if entry.status == "pending"}
        ours = [entry for entry in settled if entry.status not in ("lost", "pending")]
        self._places.ended(entry.outcome.claim.file for entry in ours if not entry.outcome.claim.retract)
        self._write_outcomes(ours)
        for entry in ours:
            if entry.outcome.vacant is not None:
                self._places.let_go(entry.outcome.claim.file, entry.outcome.vacant)
        self.release(list(untried.values()))
        raise_tokens(self._connection, self.rules.name, [entry for entry in settled if entry.behind])
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
        self._offers.settled([entry.outcome.claim.file for entry in ours])
        since = {file: claim.since for file, claim in held.items()}
        tried = [entry for entry in settled if entry.outcome.claim.file not in untried]
        note_attempts(
            self._connection, self.rules.name, tried, since=since, now=self._stamp, run_id=run_id, worker=worker
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
        if outcome.postponed is not None:
            return "postponed"
        if outcome.ok:
            return "skipped" if outcome.claim.retract else "done"
        return "dead" if outcome.claim.attempt >= self.rules.attempts else "failed"

    def _write_outcomes(self, settled: Sequence[Settled]) -> None:
        for entry in settled:
            outcome, retract = entry.outcome, entry.outcome.claim.retract
            due = None
            if outcome.postponed is not None:
                due = self._due_after(outcome.claim.file, outcome.postponed)
            elif entry.status == "failed":
                due = self._now.timestamp() + self.rules.retry_after(outcome.claim.attempt)
            # What failed to be undone may be half undone: it counts as not done, and is where it was.
            basis = "tried" if outcome.ok and not retract else "kept" if outcome.postponed or not retract else "none"
            kept = Kept()
            if outcome.ok and retract:
                self._places.undone(outcome.claim)
            elif outcome.ok:
                kept = self._places.keep(outcome)
            # One by one: who has a place is read for the next.
            self._connection.execute(
                _SETTLE,
                (
                    "failed" if outcome.postponed else entry.status,  # due again later, as those that failed are
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
                    outcome.postponed is not None,
                ),
            )

    def _due_after(self, file: str, postponed: Postponed) -> float:
        """When a postponed file is due: then, and a little later each time in a row that it was tried for nothing."""
        times = refusals(self._connection, self.rules.name, file) if postponed.asked else 0
        latest = self._now.timestamp() + LONGEST_BACKOFF
        return min(postponed.until.timestamp() + wait_beyond(times), latest)

    def release(self, claims: Sequence[Claim]) -> None:
        sql = f"UPDATE ledger {_GIVEN_BACK} AND file = ? AND token = ?"
        ours = [
            claim.file
            for claim in claims
            if self._connection.execute(sql, (self.rules.name, claim.file, claim.token)).rowcount
        ]
        self._places.ended(ours)
        self._offers.look_again(ours)

    def break_off(self, claims: Sequence[Claim]) -> None:
        # The first time nobody knows whether it was the file; the second time it was alone in its worker's hands.
        found = [
            self._connection.execute(
                f"SELECT file, {IS_SUSPECT} FROM ledger WHERE job = ? AND file = ? AND token = ? AND +status = 'claimed'",
                (self.rules.name, claim.file, claim.token),
            ).fetchone()
            for claim in claims
        ]
        message = "the run was ended from outside while it was at this file"
        self._take({row[0]: bool(row[1]) for row in found if row is not None}, INTERRUPTED, message)

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
