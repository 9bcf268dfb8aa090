"""The history: one row for each try of a file, whatever the ledger makes of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from mmmeta.state.ledger.claims import Try
from mmmeta.state.ledger.view import ENDS, Ended, EndedFile

# By the number alone: what is new is at the end, and an index over the job would read all of its history.
_LAST = (
    "SELECT max(id) FROM attempts WHERE id > ?2 AND +job = ?1 "
    f"AND status IN ({', '.join(repr(status) for status in ENDS)}) GROUP BY file"
)


def note_attempts(
    connection: sqlite3.Connection, job: str, tries: Sequence[Try], *, now: str, run_id: str | None, worker: str
) -> None:
    """Write how files ended."""
    connection.executemany(
        "INSERT INTO attempts (job, file, token, run_id, worker, started_at, ended_at, status, error_type, "
        "error_message, bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [(job, file, token, run_id, worker, started, now, *how) for file, token, started, *how in tries],
    )


def refusals(connection: sqlite3.Connection, job: str, file: str) -> int:
    """How often a file was tried and postponed in a row, up to now."""
    (count,) = connection.execute(
        "SELECT count(*) FROM attempts WHERE job = ?1 AND file = ?2 AND status = 'postponed' AND id > ifnull("
        "(SELECT max(id) FROM attempts WHERE job = ?1 AND file = ?2 AND status <> 'postponed'), 0)",
        (job, file),
    ).fetchone()
    return int(count)


def done_since(connection: sqlite3.Connection, job: str, attempt: int) -> list[str]:
    """The files that were done after an attempt."""
    sql = "SELECT DISTINCT file FROM attempts WHERE id > ?2 AND +job = ?1 AND status = 'done'"
    return [str(file) for (file,) in connection.execute(sql, (job, attempt))]


def ended_since(connection: sqlite3.Connection, job: str, attempt: int, failures: int) -> Ended:
    """How files ended after an attempt, each by how it ended last."""
    counted = connection.execute(
        f"SELECT status, count(*), ifnull(sum(bytes), 0) FROM attempts WHERE id IN ({_LAST}) GROUP BY status",
        (job, attempt),
    ).fetchall()
    failed = connection.execute(
        "SELECT a.file, a.status, a.error_type, a.error_message, ifnull(l.attempts, 1) FROM attempts AS a "
        f"LEFT JOIN ledger AS l ON l.job = a.job AND l.file = a.file WHERE a.id IN ({_LAST}) "
        "AND a.status IN ('failed', 'dead') ORDER BY a.id LIMIT ?3",
        (job, attempt, failures),
    )
    return Ended(
        {status: files for status, files, _ in counted},
        sum(size for _, _, size in counted),
        tuple(EndedFile(*row) for row in failed),
    )
