"""Tells the state db that a folder, or a database file, with results of jobs was moved or renamed, or lies elsewhere on this
machine. Nothing is moved by this."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from mmmeta.errors import StateDbError
from mmmeta.layout import Layout
from mmmeta.state.database import StateDatabase
from mmmeta.state.db import merged_of
from mmmeta.state.ledger.sqlite.moving import count_below, move
from mmmeta.state.liveness import living


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
        StateDbError: there is no state db, nothing is at the new path, no job has put anything below the old one, or workers
            are at work. Nothing was changed.
    """
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
        if not counts:
            raise StateDbError(f"no job has put anything below {old}: `mmmeta jobs` says what is done elsewhere")
        if str(there) in spellings:
            raise StateDbError(f"{old} and {new} are the same place")
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
