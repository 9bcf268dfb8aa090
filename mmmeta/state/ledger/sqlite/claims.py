"""Claims in the state db: leases, and what is read and written when files end."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from mmmeta.chunks import PER_STATEMENT, in_chunks
from mmmeta.state.ledger.claims import Claims, Ending, Held, Try
from mmmeta.state.ledger.outcomes import Claim, Settled
from mmmeta.state.ledger.places import read_place
from mmmeta.state.ledger.rules import LEASE_ENDED, WORKER_DIED, JobRules, latest_due
from mmmeta.state.ledger.sqlite.attempts import note_attempts, refusals
from mmmeta.state.ledger.sqlite.behind import raise_tokens
from mmmeta.state.ledger.sqlite.offers import Offers
from mmmeta.state.ledger.sqlite.places import SqlitePlaces
from mmmeta.state.ledger.sqlite.tables import IS_SUSPECT, PLACE
from mmmeta.state.liveness import boot_id, boot_seconds, is_dead, sweep

_GIVEN_BACK = (
    "SET status = 'pending', attempts = attempts - 1, token = token + 1, lease_until = NULL, worker = NULL "
    "WHERE job = ? AND status = 'claimed'"
)


_SETTLE = (
    "UPDATE ledger SET status = ?1, due = ?2, error_type = ?3, error_message = ?4, error_lines = ?5, bytes = ?6, "
    "basis = CASE ?7 WHEN 'tried' THEN tried WHEN 'kept' THEN basis END, retract = ?8, "
    "once_basis = CASE ?7 WHEN 'tried' THEN once_tried WHEN 'kept' THEN once_basis END, "
    "target = CASE WHEN ?9 THEN ?10 ELSE target END, place = CASE WHEN ?9 THEN ?11 ELSE place END, "
    "mark = CASE WHEN ?9 THEN ?12 ELSE mark END, replaced_by = CASE WHEN ?9 THEN ?13 ELSE replaced_by END, "
    "attempts = attempts - ?16, settled_at = ?17, lease_until = NULL, worker = NULL "
    "WHERE job = ?18 AND file = ?14 AND token = ?15"
)
"""Takes the fields of an ``Ending``, the moment and the job."""


class SqliteClaims(Claims):
    """The part of a job's ledger in the state db that workers use.

    Args:
        connection: the state db's, in a transaction.
        workers: folder of the workers' locks.
        now: aware UTC.
    """

    def __init__(self, connection: sqlite3.Connection, rules: JobRules, workers: Path, now: datetime) -> None:
        super().__init__(rules, now)
        self._connection = connection
        self._workers = workers
        self._offers = Offers(connection, rules, self._stamp)
        self._places = SqlitePlaces(connection, rules.name, self._stamp)

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
                died = "the process that worked on it was killed or crashed"
                self._take_from(self._claimed("worker = ?", worker), WORKER_DIED, died)
            else:
                self._give_back("worker = ?", worker)  # the host was started anew: the file is not to blame
        ended = self._claimed("lease_until <= ?", boot_seconds())
        self._take_from(ended, LEASE_ENDED, "its worker gave no sign of life for too long")

    def _measure_anew(self, worker: str, lease: float) -> None:
        """Count a lease in this host's seconds from now on: those of another boot cannot be compared with them.

        A worker of another host that lives renews it again and again, in its own.
        """
        self._connection.execute(
            "UPDATE ledger INDEXED BY ledger_claimed SET lease_until = ?, boot = ? "
            "WHERE job = ? AND status = 'claimed' AND worker = ?",
            (boot_seconds() + lease, boot_id(), self.rules.name, worker),
        )

    def _take(self, counts: Mapping[str, bool], error_type: str, message: str) -> None:
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

    def _statuses(self, files: Sequence[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for chunk in in_chunks(files, PER_STATEMENT):
            sql = f"SELECT file, status FROM ledger WHERE job = ? AND file IN ({_marks(chunk)})"
            found.update(self._connection.execute(sql, (self.rules.name, *chunk)).fetchall())
        return found

    def _held(self, files: Sequence[str]) -> dict[str, Held]:
        held: dict[str, Held] = {}
        for chunk in in_chunks(files, PER_STATEMENT):
            rows = self._connection.execute(
                "SELECT file, token, claimed_at, tried IS wanted, deleted FROM ledger "
                f"WHERE job = ? AND +status = 'claimed' AND file IN ({_marks(chunk)})",
                (self.rules.name, *chunk),
            )
            held.update((row[0], Held(*row[1:])) for row in rows)
        return held

    def _write_endings(self, endings: Sequence[Ending]) -> None:
        now, job = self._stamp, self.rules.name
        self._connection.executemany(_SETTLE, [(*ending, now, job) for ending in endings])

    def _raise_tokens(self, behind: Sequence[Settled]) -> None:
        raise_tokens(self._connection, self.rules.name, behind)

    def _token_base(self) -> int:
        (base,) = self._connection.execute("SELECT value FROM info WHERE name = 'token_base'").fetchone()
        return int(base)

    def _refusals(self, file: str) -> int:
        return refusals(self._connection, self.rules.name, file)

    def _note_attempts(self, tries: Sequence[Try], run_id: str | None, worker: str) -> None:
        note_attempts(self._connection, self.rules.name, tries, now=self._stamp, run_id=run_id, worker=worker)

    def _give_back_claims(self, claims: Sequence[Claim]) -> list[str]:
        sql = f"UPDATE ledger {_GIVEN_BACK} AND file = ? AND token = ?"
        return [
            claim.file
            for claim in claims
            if self._connection.execute(sql, (self.rules.name, claim.file, claim.token)).rowcount
        ]

    def _suspects_among(self, claims: Sequence[Claim]) -> dict[str, bool]:
        found = [
            self._connection.execute(
                f"SELECT file, {IS_SUSPECT} FROM ledger WHERE job = ? AND file = ? AND token = ? AND +status = 'claimed'",
                (self.rules.name, claim.file, claim.token),
            ).fetchone()
            for claim in claims
        ]
        return {row[0]: bool(row[1]) for row in found if row is not None}

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
