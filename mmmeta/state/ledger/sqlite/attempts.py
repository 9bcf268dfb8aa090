"""The history: one row for each try of a file, whatever the ledger makes of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from mmmeta.state.ledger.claims import Try


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
