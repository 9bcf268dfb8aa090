"""All that the ledger keeps under a job's name: forgotten, or given another name."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from mmmeta.catalog.tables import read_info, write_info
from mmmeta.errors import JobError
from mmmeta.state.liveness import is_dead, living

TABLES = ("jobs", "ledger", "ledger_counts", "attempts", "places", "older_places", "targets")
"""Which have a column ``job``."""

_RENAMING = "renaming"
"""Entry of ``info``: old and new name, while receipts in targets may still have the old one."""


def forget_job(connection: sqlite3.Connection, job: str) -> int:
    """Remove all that is known of a job; of how many files. Tokens go on from where they were."""
    _raise_tokens(connection, job)
    count = connection.execute("DELETE FROM ledger WHERE job = ?", (job,)).rowcount
    for table in TABLES:
        connection.execute(f"DELETE FROM {table} WHERE job = ?", (job,))
    return int(count)


def rename_job(connection: sqlite3.Connection, old: str, new: str, workers: Path) -> int:
    """Give all that is known of a job another name; of how many files. Raises as ``Ledger.rename`` does."""
    alive = living(workers)
    holders = connection.execute(
        "SELECT DISTINCT worker FROM ledger INDEXED BY ledger_claimed WHERE job = ? AND status = 'claimed'", (old,)
    )
    if alive or any(worker is None or not is_dead(workers, worker) for (worker,) in holders):
        raise JobError(f"a run is at work, so {old!r} cannot be renamed now: wait for its end, or end it")
    if _has_tried(connection, new):
        raise JobError(
            f"the ledger knows a job {new!r} already, which has worked: give another name, or let it be forgotten first "
            f"(`mmmeta jobs forget {new}`)"
        )
    # What an update has selected for it, because the project file has the new name already, is selected again.
    forget_job(connection, new)
    _raise_tokens(connection, old)
    for table in TABLES:
        connection.execute(f"UPDATE {table} SET job = ? WHERE job = ?", (new, old))
    write_info(connection, **{_RENAMING: f"{old} {new}"})
    (count,) = connection.execute("SELECT ifnull(sum(files), 0) FROM ledger_counts WHERE job = ?", (new,)).fetchone()
    return int(count)


def end_renaming(connection: sqlite3.Connection) -> None:
    """Nothing outside has the old name any more."""
    connection.execute("DELETE FROM info WHERE name = ?", (_RENAMING,))


def renaming_of(connection: sqlite3.Connection) -> tuple[str, str] | None:
    """Old and new name of a renaming that was broken off."""
    noted = read_info(connection).get(_RENAMING)
    old, _, new = noted.partition(" ") if isinstance(noted, str) else ("", "", "")
    return (old, new) if new else None


def _raise_tokens(connection: sqlite3.Connection, job: str) -> None:
    """Receipts in a target outlive the ledger, and would refuse smaller tokens."""
    connection.execute(
        "UPDATE info SET value = max(value, (SELECT ifnull(max(token), 0) + 1 FROM ledger WHERE job = ?)) "
        "WHERE name = 'token_base'",
        (job,),
    )


def _has_tried(connection: sqlite3.Connection, job: str) -> bool:
    (tried,) = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM attempts WHERE job = ?1) "
        "OR EXISTS (SELECT 1 FROM ledger WHERE job = ?1 AND (status NOT IN ('pending', 'skipped') OR tried IS NOT NULL))",
        (job,),
    ).fetchone()
    return bool(tried)
