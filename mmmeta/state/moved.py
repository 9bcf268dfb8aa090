"""Tells the state db that a folder, or a database file, with results of jobs was moved or renamed, or lies elsewhere on this
machine. Nothing is moved by this."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from mmmeta.errors import StateDbError
from mmmeta.layout import Layout
from mmmeta.sqlite.headers import HEADER_BYTES, IN_USE, is_sqlite
from mmmeta.state.database import StateDatabase
from mmmeta.state.db import merged_of
from mmmeta.state.ledger.sqlite.moving import count_below, databases_at, move
from mmmeta.state.liveness import living
from mmmeta.state.open import require_own_ledger


@dataclass(frozen=True)
class MovedReport:
    """What was written.

    Attributes:
        old, new: absolute paths.
        jobs: job → how many of its results are below the new one now.
        still_there: something is at the old path still.
    """

    old: str
    new: str
    jobs: dict[str, int]
    still_there: bool
    dry_run: bool = False


def moved(layout: Layout, old: Path, new: Path, *, dry_run: bool = False) -> MovedReport:
    """Say that what jobs have put below one path is below another one now; one transaction.

    Raises:
        StateDbError: there is no state db, nothing is at the new path, or something of another kind; no job has put anything below the old one, or workers
            are at work. Nothing was changed.
    """
    require_own_ledger(layout, "state moved", "adopt what is there (`mmmeta jobs adopt JOB`) once the job points to it")
    there = Path(os.path.realpath(new))
    if not there.exists():
        raise StateDbError(f"there is nothing at {new}: move it first, then say so")
    with closing(StateDatabase(layout.state)) as database:
        if merged_of(database) is None:
            raise StateDbError(f"no state db at {layout.state}: there is nothing to tell")
        # Links are followed when a job's target is noted; those of a path that is gone cannot be any more.
        spellings = list(dict.fromkeys((os.path.abspath(old), os.path.realpath(old))))
        with database.reading() as connection:
            counts = count_below(connection, spellings)
            databases = databases_at(connection, spellings)
        if not counts:
            raise StateDbError(f"no job has put anything below {old}: `mmmeta jobs` says what is done elsewhere")
        if str(there) in spellings:
            raise StateDbError(f"{old} and {new} are the same place")
        _require_like(old, new, there, databases)
        workers = living(layout.workers)
        if workers:
            raise StateDbError(
                f"{len(workers)} worker{' is' if len(workers) == 1 else 's are'} at work on {layout.base}: wait for the end "
                "of their runs, or end them"
            )
        if not dry_run:
            with database.atomic(existing=True) as connection:
                for spelling in spellings:
                    move(connection, spelling, str(there))
    return MovedReport(spellings[0], str(there), counts, os.path.exists(spellings[0]), dry_run)


def _require_like(old: Path, new: Path, there: Path, databases: set[str]) -> None:
    """Refuse a folder in place of a database and the other way round."""
    if not databases:
        if not there.is_dir():
            raise StateDbError(f"{new} is no folder, and jobs have put documents or databases below {old}")
    elif there.is_dir():
        raise StateDbError(f"{old} is a database, and {new} a folder: name the file in it")
    elif "sqlite" in databases:
        with IN_USE.peek(there) as header:
            known = header is None or (len(header) >= HEADER_BYTES and is_sqlite(header))
        if not known:
            raise StateDbError(f"{new} is no SQLite database")
