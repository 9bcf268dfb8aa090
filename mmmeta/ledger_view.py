"""What the ledger says of a job: numbers for status.json, and rows for people."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from mmmeta.clock import from_text
from mmmeta.status import JobStatus
from mmmeta.workers import boot_id, boot_seconds


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


def job_status(connection: sqlite3.Connection, name: str, now: datetime) -> JobStatus | None:
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
    found = []
    for *cells, selected, settled, due in rows:
        found.append(LedgerEntry(*cells, _moment(selected), _moment(settled), _due(due)))  # type: ignore[call-arg]
    return found


def _moment(text: str | None) -> datetime | None:
    return None if text is None else from_text(text)


def _due(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, timezone.utc)
