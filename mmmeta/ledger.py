"""The ledger: per job and file, what happened.

Selections are evaluated over what changed since the job's last evaluation, and what they find is written as ``pending``
rows; a row then stays until it is settled, whatever becomes of the selection. A claim is a lease with a token that
grows; settling a claim whose token another has raised since changes nothing.
"""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from mmmeta.catalog import Catalog
from mmmeta.clock import from_text, to_text
from mmmeta.filters import Condition, from_json, grows_with_time, to_json
from mmmeta.status import JobStatus
from mmmeta.workers import boot_id, boot_seconds, is_dead

CONTENT = "content"
METADATA = "metadata"
NEVER = "never"

LONGEST_BACKOFF = 86_400.0
"""Seconds; a file that failed is due again after a day at the latest."""

ERROR_LINES = 4_000
"""Characters of a traceback that are kept."""

_DELETED = "the file was deleted before it was processed"
_LEFT = "left the selection when the job's definition changed"


@dataclass(frozen=True)
class JobRules:
    """What the ledger needs to know of a job.

    Attributes:
        rerun_on: ``"content"``, ``"metadata"``, ``"never"``, or the keys whose change makes a file pending again.
        content_key: config.yml's ``metadata.content``.
        attempts: tries before a file is dead.
        backoff: seconds before the second try; doubled for each further one, with jitter.
        fingerprint: of the whole definition, the action included.
    """

    name: str
    condition: Condition
    rerun_on: str | tuple[str, ...]
    content_key: str
    attempts: int
    backoff: float
    order_by: str | None
    fingerprint: str

    @property
    def selection(self) -> str:
        """Canonical JSON of the condition."""
        return json.dumps(to_json(self.condition), sort_keys=True)

    @property
    def rules(self) -> str:
        """Canonical JSON of what else the ledger depends on."""
        rerun_on = self.rerun_on if isinstance(self.rerun_on, str) else list(self.rerun_on)
        return json.dumps(
            {
                "rerun_on": rerun_on,
                "content_key": self.content_key,
                "attempts": self.attempts,
                "backoff": self.backoff,
                "order_by": self.order_by,
            },
            sort_keys=True,
        )


def rules_from(name: str, selection: str, rules: str, fingerprint: str) -> JobRules:
    """The rules of a job as its last run left them in the table ``jobs``."""
    values = json.loads(rules)
    rerun_on = values["rerun_on"]
    return JobRules(
        name=name,
        condition=from_json(json.loads(selection)),
        rerun_on=rerun_on if isinstance(rerun_on, str) else tuple(rerun_on),
        content_key=values["content_key"],
        attempts=values["attempts"],
        backoff=values["backoff"],
        order_by=values["order_by"],
        fingerprint=fingerprint,
    )


@dataclass(frozen=True)
class Evaluation:
    """What evaluating a selection did: files newly pending, and files that left it unprocessed."""

    selected: int = 0
    left: int = 0


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


@dataclass(frozen=True)
class LedgerEntry:
    """One file of a job as the ledger has it; times are aware UTC."""

    file: str
    status: str
    attempts: int
    error_type: str | None
    error_message: str | None
    error_lines: str | None
    run_id: str | None
    bytes: int | None
    selected_at: datetime | None
    settled_at: datetime | None
    due: datetime | None


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
        self._basis = self._basis_sql(rules)

    # Selecting

    def evaluate(self, state_revision: int) -> Evaluation:
        """Bring the pending rows up to the state revision, and the table ``jobs`` up to the rules."""
        rules = self._rules
        row = self._connection.execute(
            "SELECT selection, rules, evaluated FROM jobs WHERE job = ?", (rules.name,)
        ).fetchone()
        known_selection, known_rules, evaluated = row if row is not None else (None, None, 0)
        changed = row is not None and known_selection != rules.selection
        if row is not None and known_rules != rules.rules:
            self._adopt_rules(json.loads(known_rules))
        result = Evaluation()
        if row is None or changed or evaluated < state_revision or grows_with_time(rules.condition):
            since = 0 if row is None or changed or grows_with_time(rules.condition) else evaluated
            result = Evaluation(self._select(since), self._drop(since, definition_changed=changed))
        self._connection.execute(
            "INSERT INTO jobs (job, selection, rules, selection_fingerprint, fingerprint, evaluated) "
            "VALUES (?1, ?2, ?3, ?2, ?4, ?5) ON CONFLICT (job) DO UPDATE SET selection = ?2, rules = ?3, "
            "selection_fingerprint = ?2, fingerprint = ?4, evaluated = ?5",
            (rules.name, rules.selection, rules.rules, rules.fingerprint, state_revision),
        )
        return result

    def _select(self, since: int) -> int:
        """Make pending what the selection finds among the rows that changed, where it was not processed so already."""
        where, parameters = self._catalog.where(self._rules.condition)
        before = self._count("pending")
        self._connection.execute(
            f"INSERT INTO ledger (job, file, status, priority, tried, selected_at) "
            f"SELECT ?, {self._catalog.unique_sql}, 'pending', {self._priority_sql()}, {self._basis}, ? "
            f"FROM files WHERE files.__state_rev > ? AND {where} "
            "ON CONFLICT (job, file) DO UPDATE SET priority = excluded.priority, "
            "status = CASE WHEN status = 'skipped' AND basis IS excluded.tried THEN 'done' "
            "WHEN status IN ('pending', 'claimed') THEN status ELSE 'pending' END, "
            "attempts = CASE WHEN status IN ('pending', 'claimed') THEN attempts ELSE 0 END, "
            "token = CASE WHEN status IN ('pending', 'claimed') THEN token ELSE token + 1 END, "
            "due = CASE WHEN status IN ('pending', 'claimed') THEN due END "
            "WHERE status IN ('pending', 'skipped') OR (status = 'done' AND basis IS NOT excluded.tried) "
            "OR (status IN ('failed', 'dead') AND tried IS NOT excluded.tried)",
            (self._rules.name, self._stamp, since, *parameters),
        )
        return max(0, self._count("pending") - before)

    def _drop(self, since: int, *, definition_changed: bool) -> int:
        """Set aside what was deleted before its turn, and after a change of the definition what it does not mean."""
        gone = f"SELECT {self._catalog.unique_sql} FROM files WHERE files.__state_rev > ? AND files.__deleted"
        dropped = self._connection.execute(
            "UPDATE ledger SET status = 'skipped', error_type = NULL, error_message = ? "
            f"WHERE job = ? AND status IN ('pending', 'failed') AND file IN ({gone})",
            (_DELETED, self._rules.name, since),
        ).rowcount
        if definition_changed:
            where, parameters = self._catalog.where(self._rules.condition)
            dropped += self._connection.execute(
                "UPDATE ledger SET status = 'skipped', error_type = NULL, error_message = ? "
                "WHERE job = ? AND status IN ('pending', 'failed') "
                f"AND file NOT IN (SELECT {self._catalog.unique_sql} FROM files WHERE {where})",
                (_LEFT, self._rules.name, *parameters),
            ).rowcount
        return int(dropped)

    def _adopt_rules(self, known: dict[str, Any]) -> None:
        """After a change of ``rerun_on`` or ``order_by``: what is done counts as done in the version that it has now."""
        current = f"(SELECT {self._basis} FROM files WHERE {self._catalog.unique_sql} = ledger.file)"
        if (known["rerun_on"], known["content_key"]) != (
            self._rules.rerun_on if isinstance(self._rules.rerun_on, str) else list(self._rules.rerun_on),
            self._rules.content_key,
        ):
            self._connection.execute(
                f"UPDATE ledger SET basis = CASE WHEN status = 'done' THEN {current} ELSE basis END, tried = {current} "
                "WHERE job = ? AND status IN ('done', 'failed', 'dead')",
                (self._rules.name,),
            )
        if known["order_by"] != self._rules.order_by:
            priority = f"(SELECT {self._priority_sql()} FROM files WHERE {self._catalog.unique_sql} = ledger.file)"
            self._connection.execute(
                f"UPDATE ledger SET priority = {priority} WHERE job = ? AND status = 'pending'", (self._rules.name,)
            )

    def _basis_sql(self, rules: JobRules) -> str:
        """What ``rerun_on`` compares, as SQL over ``files``."""
        if rules.rerun_on == METADATA:
            return "hex(files.__fingerprint)"
        if rules.rerun_on == NEVER:
            return "''"
        keys = (rules.content_key,) if rules.rerun_on == CONTENT else tuple(sorted(rules.rerun_on))
        compiler = self._catalog.compiler
        return f"json_array({', '.join(f'{compiler.value(key)}, {compiler.kind(key)}' for key in keys)})"

    def _priority_sql(self) -> str:
        order_by = self._rules.order_by
        if order_by is None:
            return "NULL"
        return self._catalog.compiler.value(order_by.removeprefix("-"))

    # Claiming and settling

    def claim(self, count: int, *, worker: str, run_id: str | None, lease: float) -> list[Claim]:
        """Take up to so many pending files; what came due, and what dead workers held, is pending again first."""
        self._take_back()
        descending = self._rules.order_by is not None and self._rules.order_by.startswith("-")
        order = "priority DESC, file" if descending else "priority, file"
        rows = self._connection.execute(
            "SELECT file, token + 1, attempts + 1 FROM ledger WHERE job = ? AND status = 'pending' "
            f"ORDER BY {order} LIMIT ?",
            (self._rules.name, count),
        ).fetchall()
        current = f"(SELECT {self._basis} FROM files WHERE {self._catalog.unique_sql} = ledger.file)"
        self._connection.executemany(
            f"UPDATE ledger SET status = 'claimed', token = ?, attempts = ?, tried = {current}, lease_until = ?, boot = ?, "
            "worker = ?, run_id = ?, claimed_at = ?, due = NULL WHERE job = ? AND file = ?",
            [
                (
                    token,
                    attempt,
                    boot_seconds() + lease,
                    boot_id(),
                    worker,
                    run_id,
                    self._stamp,
                    self._rules.name,
                    file,
                )
                for file, token, attempt in rows
            ],
        )
        self.beat(run_id)
        return [Claim(*row) for row in rows]

    def _take_back(self) -> None:
        name = self._rules.name
        self._connection.execute(
            "UPDATE ledger SET status = 'pending', due = NULL WHERE job = ? AND status = 'failed' AND due <= ?",
            (name, self._now.timestamp()),
        )
        workers = self._connection.execute(
            "SELECT DISTINCT worker, boot FROM ledger WHERE job = ? AND status = 'claimed'",
            (name,),
        ).fetchall()
        for worker, boot in workers:
            # SQLite's state db is on one host: a lease of another boot is void.
            if boot != boot_id() or is_dead(self._workers, worker):
                self._connection.execute(
                    "UPDATE ledger SET status = 'pending', token = token + 1 "
                    "WHERE job = ? AND status = 'claimed' AND worker = ?",
                    (name, worker),
                )
        self._connection.execute(
            "UPDATE ledger SET status = 'pending', token = token + 1 "
            "WHERE job = ? AND status = 'claimed' AND boot = ? AND lease_until <= ?",
            (name, boot_id(), boot_seconds()),
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
        return [self._settle(outcome, run_id, worker) for outcome in outcomes]

    def _settle(self, outcome: Outcome, run_id: str | None, worker: str) -> Settled:
        claim = outcome.claim
        row = self._connection.execute(
            f"SELECT ledger.tried IS {self._basis}, files.__deleted FROM ledger "
            f"LEFT JOIN files ON {self._catalog.unique_sql} = ledger.file "
            "WHERE job = ? AND file = ? AND status = 'claimed' AND token = ?",
            (self._rules.name, claim.file, claim.token),
        ).fetchone()
        if row is None:
            status = "lost"
        else:
            status = self._status_after(outcome, current=bool(row[0]), deleted=bool(row[1]))
            self._write_outcome(outcome, status)
        self._connection.execute(
            "INSERT INTO attempts (job, file, token, run_id, worker, ended_at, status, error_type, error_message, bytes) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self._rules.name,
                claim.file,
                claim.token,
                run_id,
                worker,
                self._stamp,
                status if not outcome.ok or status == "lost" else "done",
                outcome.error_type,
                outcome.error_message,
                outcome.bytes,
            ),
        )
        return Settled(outcome, status)

    def _status_after(self, outcome: Outcome, *, current: bool, deleted: bool) -> str:
        if outcome.ok:
            return "done" if current or deleted else "pending"
        if not current:
            return "pending"  # a new version came while the old one failed: it starts afresh
        return "dead" if outcome.claim.attempt >= self._rules.attempts else "failed"

    def _write_outcome(self, outcome: Outcome, status: str) -> None:
        claim = outcome.claim
        delay = min(self._rules.backoff * 2 ** (claim.attempt - 1), LONGEST_BACKOFF) * random.uniform(0.75, 1.25)
        content = self._catalog.compiler.value(self._rules.content_key)
        files = f"FROM files WHERE {self._catalog.unique_sql} = ledger.file"
        self._connection.execute(
            "UPDATE ledger SET status = ?1, due = ?2, error_type = ?3, error_message = ?4, error_lines = ?5, bytes = ?6, "
            "settled_at = ?7, lease_until = NULL, worker = NULL, "
            "attempts = CASE WHEN ?1 = 'pending' THEN 0 ELSE attempts END, "
            "basis = CASE WHEN ?8 THEN tried ELSE basis END, "
            f"content = CASE WHEN ?8 THEN (SELECT CAST({content} AS TEXT) {files}) ELSE content END, "
            f"rev = CASE WHEN ?8 THEN (SELECT files.__rev {files}) ELSE rev END "
            "WHERE job = ?9 AND file = ?10 AND token = ?11",
            (
                status,
                self._now.timestamp() + delay if status == "failed" else None,
                outcome.error_type,
                outcome.error_message,
                outcome.error_lines,
                outcome.bytes,
                self._stamp,
                int(outcome.ok),
                self._rules.name,
                claim.file,
                claim.token,
            ),
        )

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
            [(_DELETED, self._rules.name, claim.file, claim.token) for claim in claims],
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

    def _count(self, status: str) -> int:
        (count,) = self._connection.execute(
            "SELECT count(*) FROM ledger WHERE job = ? AND status = ?", (self._rules.name, status)
        ).fetchone()
        return int(count)


def job_status(connection: sqlite3.Connection, name: str, now: datetime, workers: Path) -> JobStatus | None:
    """One job in numbers; None if it never ran or was evaluated."""
    row = connection.execute("SELECT fingerprint, run_id, heartbeat FROM jobs WHERE job = ?", (name,)).fetchone()
    if row is None:
        return None
    counts = dict(
        connection.execute("SELECT status, count(*) FROM ledger WHERE job = ? GROUP BY status", (name,)).fetchall()
    )
    due_now, earliest = connection.execute(
        "SELECT count(*) FILTER (WHERE due <= ?1), min(due) FROM ledger WHERE job = ?2 AND status = 'failed'",
        (now.timestamp(), name),
    ).fetchone()
    lease, boot = connection.execute(
        "SELECT max(lease_until), max(boot) FROM ledger WHERE job = ? AND status = 'claimed'", (name,)
    ).fetchone()
    lease_until = None
    if lease is not None:
        remaining = lease - boot_seconds() if boot == boot_id() else 0.0
        lease_until = datetime.fromtimestamp(now.timestamp() + remaining, now.tzinfo)
    return JobStatus(
        fingerprint=row[0],
        pending=counts.get("pending", 0),
        claimed=counts.get("claimed", 0),
        done=counts.get("done", 0),
        failed=counts.get("failed", 0),
        dead=counts.get("dead", 0),
        skipped=counts.get("skipped", 0),
        due=counts.get("pending", 0) + due_now,
        earliest_due=None if earliest is None else datetime.fromtimestamp(earliest, now.tzinfo),
        lease_until=lease_until,
        heartbeat=None if row[2] is None else from_text(row[2]),
        run_id=row[1],
    )


def entries(connection: sqlite3.Connection, name: str, statuses: Sequence[str]) -> list[LedgerEntry]:
    """The files of a job that have one of these statuses, the last settled first."""
    rows = connection.execute(
        "SELECT file, status, attempts, error_type, error_message, error_lines, run_id, bytes, selected_at, settled_at, due "
        f"FROM ledger WHERE job = ? AND status IN ({', '.join('?' * len(statuses))}) ORDER BY settled_at DESC, file",
        (name, *statuses),
    ).fetchall()
    return [
        LedgerEntry(
            *row[:8],
            selected_at=None if row[8] is None else from_text(row[8]),
            settled_at=None if row[9] is None else from_text(row[9]),
            due=None if row[10] is None else datetime.fromtimestamp(row[10], from_text(row[8]).tzinfo),
        )
        for row in rows
    ]
