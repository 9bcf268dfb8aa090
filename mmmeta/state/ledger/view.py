"""What the ledger says of a job: numbers for status.json, and rows for people."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from mmmeta.clock import from_text, to_text
from mmmeta.errors import JobError
from mmmeta.state.candidates import JobRules, rules_from
from mmmeta.state.liveness import boot_id, boot_seconds
from mmmeta.state.status import JobStatus

STATUSES = ("pending", "claimed", "done", "failed", "dead", "skipped")


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
    retract: bool
    selected_at: datetime | None
    claimed_at: datetime | None
    settled_at: datetime | None
    due: datetime | None


@dataclass(frozen=True)
class Attempt:
    """One try of one file; times are aware UTC.

    Attributes:
        status: ``done``, ``failed``, ``dead`` (failed for the last time), ``lost`` (the claim had passed to another),
            ``retracted`` (undone after the file was deleted) or ``adopted``.
        worker: None where no worker was needed.
    """

    job: str
    file: str
    status: str
    run_id: str | None
    worker: str | None
    started_at: datetime | None
    ended_at: datetime | None
    error_type: str | None
    error_message: str | None
    bytes: int | None


def job_status(connection: sqlite3.Connection, name: str, now: datetime) -> JobStatus | None:
    """One job in numbers; None if it never ran or was evaluated."""
    row = connection.execute(
        "SELECT fingerprint, run_id, heartbeat, evaluated FROM jobs WHERE job = ?", (name,)
    ).fetchone()
    if row is None:
        return None
    counts = dict(connection.execute("SELECT status, files FROM ledger_counts WHERE job = ?", (name,)).fetchall())
    due_now, earliest = connection.execute(
        "SELECT count(*) FILTER (WHERE due <= ?1), min(due) FROM ledger INDEXED BY ledger_failed "
        "WHERE job = ?2 AND status = 'failed'",
        (now.timestamp(), name),
    ).fetchone()
    lease, boot = connection.execute(
        "SELECT max(lease_until), max(boot) FROM ledger INDEXED BY ledger_claimed WHERE job = ? AND status = 'claimed'",
        (name,),
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
        evaluated=row[3],
    )


def recorded_rules(connection: sqlite3.Connection, name: str) -> JobRules | None:
    """Selection and rules of a job as it last ran or was evaluated; None if it never was."""
    row = connection.execute("SELECT job, selection, rules, fingerprint FROM jobs WHERE job = ?", (name,)).fetchone()
    return None if row is None else rules_from(*row)


_ENTRY = (
    "SELECT file, status, attempts, error_type, error_message, error_lines, run_id, bytes, retract, selected_at, "
    "claimed_at, settled_at, due FROM ledger"
)


def entries(connection: sqlite3.Connection, name: str, statuses: Sequence[str]) -> list[LedgerEntry]:
    """The files of a job that have one of these statuses, the last settled first.

    Raises:
        JobError: there is no such status.
    """
    found: list[LedgerEntry] = []
    for status in dict.fromkeys(statuses):
        if status not in STATUSES:
            raise JobError(f"{status!r} is no status of a file; there are {', '.join(STATUSES)}")
        index = "" if status == "done" else f"INDEXED BY ledger_{status}"  # all that is not done is found at once
        sql = f"{_ENTRY} {index} WHERE job = ? AND status = '{status}'"
        found += [_entry(row) for row in connection.execute(sql, (name,))]
    return sorted(found, key=lambda entry: (-(entry.settled_at.timestamp() if entry.settled_at else 0), entry.file))


def entry(connection: sqlite3.Connection, name: str, file: str) -> LedgerEntry | None:
    """What the ledger of a job says of one file; None if it never was selected."""
    row = connection.execute(f"{_ENTRY} WHERE job = ? AND file = ?", (name, file)).fetchone()
    return None if row is None else _entry(row)


def _entry(row: tuple[Any, ...]) -> LedgerEntry:
    file, status, attempts, kind, message, lines, run_id, size, retract, selected, claimed, settled, due = row
    return LedgerEntry(
        file,
        status,
        attempts,
        kind,
        message,
        lines,
        run_id,
        size,
        bool(retract),
        _moment(selected),
        _moment(claimed),
        _moment(settled),
        _due(due),
    )


def history(
    connection: sqlite3.Connection,
    *,
    job: str | None = None,
    file: str | None = None,
    run_id: str | None = None,
    limit: int | None = None,
) -> list[Attempt]:
    """Attempts of a job, of a file, of a run (the beginning of its id is enough), or of all, the latest first.

    Raises:
        JobError: the run's id is empty, as an unset variable of a script is.
    """
    if run_id == "":
        raise JobError("the id of the run is empty; give it, or its beginning")
    wanted = {"job = ?": job, "file = ?": file}
    conditions = [text for text, value in wanted.items() if value is not None]
    parameters: list[Any] = [value for value in wanted.values() if value is not None]
    if run_id is not None:
        # A range, which the index serves; no id has a character behind this one.
        conditions += ["run_id >= ?", "run_id < ?"]
        parameters += [run_id, run_id + "\U0010ffff"]
    where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
    rows = connection.execute(
        "SELECT job, file, status, run_id, worker, error_type, error_message, bytes, started_at, ended_at FROM attempts "
        f"{where}ORDER BY id DESC LIMIT ?",
        (*parameters, -1 if limit is None else limit),
    ).fetchall()
    return [
        Attempt(job, file, status, run, worker, _moment(started), _moment(ended), kind, message, size)
        for job, file, status, run, worker, kind, message, size, started, ended in rows
    ]


def oldest_pending(connection: sqlite3.Connection, name: str) -> datetime | None:
    """When the file that has waited longest was selected; reads all pending rows of the job."""
    (text,) = connection.execute(
        "SELECT min(selected_at) FROM ledger INDEXED BY ledger_pending WHERE job = ? AND status = 'pending'", (name,)
    ).fetchone()
    return _moment(text)


def set_aside(connection: sqlite3.Connection, name: str) -> dict[str, int]:
    """Reason → how many files of a job were set aside for it (see ``selection.REASONS``)."""
    rows = connection.execute(
        "SELECT error_type, count(*) FROM ledger INDEXED BY ledger_skipped WHERE job = ? AND status = 'skipped' "
        "GROUP BY error_type",
        (name,),
    )
    return {reason: count for reason, count in rows if reason is not None}


def set_aside_since(connection: sqlite3.Connection, name: str, reason: str, since: datetime) -> int:
    """How many files of a job were set aside for this reason, at that moment (aware UTC) or later."""
    (count,) = connection.execute(
        "SELECT count(*) FROM ledger INDEXED BY ledger_skipped WHERE job = ? AND status = 'skipped' "
        "AND error_type = ? AND settled_at >= ?",
        (name, reason, to_text(since)),
    ).fetchone()
    return int(count)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else from_text(text)


def _due(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, timezone.utc)
