"""The history: one row for each try of a file, whatever the ledger makes of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from mmmeta.state.ledger.outcomes import Settled


def note_attempts(
    connection: sqlite3.Connection,
    job: str,
    settled: Sequence[Settled],
    *,
    since: Mapping[str, str],
    now: str,
    run_id: str | None,
    worker: str,
) -> None:
    """Write how files ended; those that were postponed without being tried leave none.

    Args:
        since: file → when it was claimed.
    """
    connection.executemany(
        "INSERT INTO attempts (job, file, token, run_id, worker, started_at, ended_at, status, error_type, "
        "error_message, bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                job,
                entry.outcome.claim.file,
                entry.outcome.claim.token,
                run_id,
                worker,
                since[entry.outcome.claim.file] if entry.status != "lost" else None,
                now,
                _status(entry),
                entry.outcome.error_type,
                entry.outcome.error_message,
                entry.outcome.bytes,
            )
            for entry in settled
            if entry.outcome.postponed is None or entry.outcome.postponed.asked
        ],
    )


def refusals(connection: sqlite3.Connection, job: str, file: str) -> int:
    """How often a file was tried and postponed in a row, up to now."""
    (count,) = connection.execute(
        "SELECT count(*) FROM attempts WHERE job = ?1 AND file = ?2 AND status = 'postponed' AND id > ifnull("
        "(SELECT max(id) FROM attempts WHERE job = ?1 AND file = ?2 AND status <> 'postponed'), 0)",
        (job, file),
    ).fetchone()
    return int(count)


def _status(settled: Settled) -> str:
    """How an attempt went."""
    outcome = settled.outcome
    if settled.status == "lost":
        return "lost"
    if outcome.postponed is not None:
        return "postponed"
    if not outcome.ok:
        return "dead" if settled.status == "dead" else "failed"
    return "retracted" if outcome.claim.retract else "done"
