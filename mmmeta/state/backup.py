"""Copies of a state db: made with SQLite's own backup while others write, and put back into the same file.

A copy that was put back is older than what jobs have done since. Targets with receipts tell the ledger (``ledger/sqlite/behind``),
and a document that is in its place is not fetched again.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from mmmeta.errors import MmmetaError, StateDbError, remedy_of
from mmmeta.layout import Layout
from mmmeta.reports import Progress
from mmmeta.sqlite.connection import connect, set_journal_mode
from mmmeta.sqlite.damage import words_tell_place
from mmmeta.sqlite.headers import is_sqlite
from mmmeta.state.database import StateDatabase
from mmmeta.state.db import Merged, merged_of
from mmmeta.state.ledger.sqlite.behind import free_claims
from mmmeta.state.liveness import living
from mmmeta.state.open import require_own_ledger
from mmmeta.writing import database_beside, make_folder

BEFORE = ".before-restore"
"""Suffix of what was there before a copy was put back; one such is kept."""

_PAGES = 2_000
"""Copied between two reports of progress; 8 MB."""


def back_up(state: Path, target: Path, *, dry_run: bool = False, progress: Progress | None = None) -> Merged:
    """Copy a state db into one file, as of one moment, whoever writes meanwhile; gives what it has merged.

    The file appears whole or not at all. An older copy of a state db is replaced.

    Args:
        dry_run: look whether it can be done; write nothing.
        progress: called with how many pages were copied, and of how many.

    Raises:
        StateDbError: there is no state db, or the target is something else, or cannot be written.
    """
    if not state.exists():
        raise StateDbError(f"no state db at {state}: there is nothing to copy")
    if target.is_dir() or not target.parent.is_dir():
        where = "is a folder: give the name of a file" if target.is_dir() else "cannot be made: its folder is not there"
        raise StateDbError(f"{target} {where}")
    if target.exists() and (target.samefile(state) or not _is_state_db(target)):
        raise StateDbError(f"{target} is there and is no copy of a state db: it was left as it is. Give another name")
    with closing(StateDatabase(state)) as database:
        merged = merged_of(database)
        if merged is None:
            raise StateDbError(f"{state} has merged nothing yet: there is nothing to copy")
        if not dry_run:
            _copy(database, target, progress)
        elif not os.access(target.parent, os.W_OK):
            raise StateDbError(f"{target} cannot be written: {target.parent} may not be written by this user")
    return merged


def merged_here(state: Path) -> Merged | None:
    """What the state db that a copy would replace has merged; None where there is none, or it cannot be read."""
    with closing(StateDatabase(state)) as database:
        try:
            return merged_of(database)
        except MmmetaError:
            return None


def restore(
    source: Path, layout: Layout, *, before: str = BEFORE, dry_run: bool = False, progress: Progress | None = None
) -> Merged:
    """Put a copy of a state db back; gives what it has merged. What was there is kept beside it.

    Args:
        before: suffix of what is kept.
        dry_run: look whether it can be done; write nothing.
        progress: called with how many pages were copied, and of how many.

    Raises:
        StateDbError: the copy is none or damaged, or workers are at work. Nothing was changed.
    """
    require_own_ledger(layout, "state restore", "restore it with the server's own tools (pg_restore)")
    state = layout.state
    if state.exists() and source.exists() and source.samefile(state):
        raise StateDbError(f"{source} is the state db itself. Give the copy that is to be put back")
    if source.is_file() and not _has_header(source):
        raise StateDbError(f"{source} is no SQLite database: give a copy that `mmmeta state backup` has made")
    with closing(StateDatabase(source)) as database:
        merged = merged_of(database)
        if merged is None:
            raise StateDbError(
                f"{source} {'has merged nothing yet' if source.exists() else 'is not there'}: give a copy of a state db"
            )
        damage = database.why_damaged()
        if damage is not None and words_tell_place(damage):
            raise StateDbError(f"{source} cannot be read ({damage}); check its disk. The state db is as it was")
        if damage is not None:
            raise StateDbError(f"{source} is damaged ({damage}): give another copy. The state db is as it was")
        workers = living(layout.workers)
        if workers:
            raise StateDbError(
                f"{len(workers)} worker{' is' if len(workers) == 1 else 's are'} at work on {layout.base}: what they do now "
                "would be forgotten. Wait for the end of their runs, or end them"
            )
        if dry_run:
            return merged
        try:
            with database.reading() as reading, _one_moment(reading):  # opened before its place may be taken
                make_folder(state.parent)
                if _can_be_kept(state, before):
                    # Within one transaction of SQLite's: whoever has it open goes on with what is there then.
                    with _blaming(source, state), closing(connect(state, "rwc", _write_ahead)) as writing:
                        reading.backup(writing, pages=_PAGES, progress=_told(progress))
                else:
                    _replace(database, state, before, progress)
            with closing(StateDatabase(state)) as restored, restored.atomic() as connection:
                free_claims(connection)
        except (OSError, sqlite3.Error) as error:
            raise StateDbError(
                f"{state} cannot be written: {error}; what was there is there still, or in {state}{before}"
            ) from error
    return merged


def _write_ahead(connection: sqlite3.Connection) -> None:
    set_journal_mode(connection, "WAL")


def _has_header(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return is_sqlite(file.read(100))
    except OSError as error:
        raise StateDbError(f"{path} cannot be read: {error.strerror}; {remedy_of(error)}") from error


def _is_state_db(path: Path) -> bool:
    with closing(StateDatabase(path)) as database:
        try:
            return merged_of(database) is not None
        except MmmetaError:
            return False


@contextmanager
def _one_moment(reading: sqlite3.Connection) -> Iterator[None]:
    """A copy that is made in steps begins again whenever somebody writes, unless a transaction holds it to one moment."""
    reading.execute("BEGIN")
    try:
        reading.execute("SELECT count(*) FROM sqlite_master").fetchone()
        yield
    finally:
        reading.execute("ROLLBACK")


@contextmanager
def _blaming(source: Path, target: Path) -> Iterator[None]:
    """SQLite does not say which of the two it could not read or write, but that there is no room."""
    try:
        yield
    except sqlite3.Error as error:
        if "full" in str(error):
            raise StateDbError(f"{target} cannot be written: {error}; make room on its disk") from error
        raise StateDbError(
            f"{source} cannot be copied to {target}: {error}; check the paths, their permissions and their disks"
        ) from error


def _told(progress: Progress | None) -> Callable[[int, int, int], object] | None:
    if progress is None:
        return None
    return lambda _, remaining, total: progress("copying pages", total - remaining, total)


def _copy(database: StateDatabase, target: Path, progress: Progress | None = None) -> None:
    try:
        with database_beside(target) as temporary:
            with (
                database.reading() as reading,
                _one_moment(reading),
                _blaming(database.path, target),
                closing(sqlite3.connect(temporary)) as writing,
            ):
                reading.backup(writing, pages=_PAGES, progress=_told(progress))
                writing.execute("PRAGMA journal_mode=DELETE")  # one file at rest
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, target)
    except (OSError, sqlite3.Error) as error:
        remedy = f"; {remedy_of(error)}" if isinstance(error, OSError) else ""
        raise StateDbError(f"{target} cannot be written: {error}{remedy}") from error


def _can_be_kept(state: Path, suffix: str) -> bool:
    """Copy what is there; False where there is nothing, or nothing that can be written over.

    Raises:
        StateDbError: it cannot be read for reasons that are none of its own, or the copy cannot be written. It is as it was.
    """
    if not state.exists():
        return False
    with closing(StateDatabase(state)) as database:
        damage = database.why_damaged()
        if damage is None:
            _copy(database, state.with_name(state.name + suffix))
            return True
    if words_tell_place(damage):
        raise StateDbError(
            f"{state} cannot be read ({damage}), so that it cannot be kept; check its permissions and its disk. Nothing was "
            "changed"
        )
    return False


def _replace(database: StateDatabase, state: Path, suffix: str, progress: Progress | None) -> None:
    """Put a copy where no state db is, or a damaged one, which is moved away with its log when the copy is whole."""
    before = state.with_name(state.name + suffix)
    whole = state.with_name(f".{state.name}.restored")
    _copy(database, whole, progress)
    for end in ("-wal", "-shm", ""):
        path = state.with_name(state.name + end)
        if path.exists():
            os.replace(path, before.with_name(before.name + end))
    os.replace(whole, state)
