"""Makes a state db smaller: old history goes, and the metadata of files that were deleted at the remote long ago.

A deleted file's row stays with its fingerprint, emptied, where the remote still has it or a job has done something with it:
updates prove by the one, and the other keeps a file that comes back from being done twice. The work goes in small
transactions, so that jobs go on beside it and a kill loses nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta

from mmmeta.catalog.columns import CLIENT, REMOTE, KeyColumns
from mmmeta.chunks import PER_STATEMENT, in_chunks
from mmmeta.clock import to_text
from mmmeta.errors import StateDbError
from mmmeta.layout import Layout
from mmmeta.reports import Progress
from mmmeta.state.cells import PRUNED
from mmmeta.state.database import StateDatabase
from mmmeta.state.db import merged_of
from mmmeta.state.ledger.sqlite.pruning import count_old_attempts, delete_old_attempts, delete_untouched, standing
from mmmeta.state.liveness import living
from mmmeta.state.open import require_own_ledger

_AT_ONCE = 1_000
"""Rows of one transaction."""


@dataclass(frozen=True)
class PruneReport:
    """What a pruning did, or would do.

    Attributes:
        attempts: lines of history removed.
        files: deleted files whose metadata was removed.
        rows: rows of the ledger removed, of files that were deleted before their turn.
        kept_values: files that were left because they carry values of the client's own.
        kept_jobs: files that were left because a job has yet to settle them.
        bytes_before, bytes_after: of the state db; the same where nothing was vacuumed.
        not_vacuumed: why not, in a sentence; None where it was, or was not asked for.
    """

    attempts: int
    files: int
    rows: int
    kept_values: int
    kept_jobs: int
    bytes_before: int
    bytes_after: int
    not_vacuumed: str | None = None
    dry_run: bool = False


@dataclass
class _Counts:
    files: int = 0
    rows: int = 0
    kept_values: int = 0
    kept_jobs: int = 0


def prune(
    layout: Layout,
    now: datetime,
    *,
    history: timedelta | None,
    deleted: timedelta | None,
    values: bool = False,
    vacuum: bool = True,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> PruneReport:
    """Remove what nobody needs any more.

    Args:
        history: age from which attempts go, but for those of failed and dead files; None keeps them all.
        deleted: age from which the metadata of deleted files goes, counted since the deletion was merged here; None
            keeps it.
        values: also of files that carry values of the client's own, and these with it.
        vacuum: give the space back to the disk afterwards.
        dry_run: count what would go; write nothing.

    Raises:
        StateDbError: there is no state db, or it cannot be written; what was removed before that stays removed.
    """
    require_own_ledger(layout, "prune", "its old attempts go by themselves after 90 days")
    with closing(StateDatabase(layout.state)) as database:
        merged = merged_of(database)
        if merged is None:
            raise StateDbError(f"no state db at {layout.state}: there is nothing to prune")
        before = _bytes(database)
        attempts = 0
        if history is not None:
            attempts = _prune_attempts(database, to_text(now - history), dry_run, progress)
        counts = _Counts()
        if deleted is not None:
            _prune_files(database, merged.unique, to_text(now - deleted), values, dry_run, counts, progress)
        reason = None
        if vacuum and not dry_run:
            reason = _vacuum(database, layout, progress)
        after = _bytes(database)
    return PruneReport(
        attempts=attempts,
        **vars(counts),
        bytes_before=before,
        bytes_after=after,
        not_vacuumed=reason,
        dry_run=dry_run,
    )


def _bytes(database: StateDatabase) -> int:
    """What the state db takes, or will take once its log is in it."""
    with database.reading() as connection:
        pages, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    return int(pages * size)


def _prune_attempts(database: StateDatabase, before: str, dry_run: bool, progress: Progress | None) -> int:
    if dry_run:
        with database.reading() as connection:
            return count_old_attempts(connection, before)
    count, after = 0, 0
    while True:
        with database.atomic(existing=True) as connection:
            removed, last = delete_old_attempts(connection, before, after, _AT_ONCE)
        count += removed
        if last is None:
            return count
        after = last
        if progress is not None:
            progress("removing history", count, None)


def _prune_files(
    database: StateDatabase,
    unique: str,
    before: str,
    values: bool,
    dry_run: bool,
    counts: _Counts,
    progress: Progress | None,
) -> None:
    after = 0
    looked = 0
    while True:
        with database.reading() if dry_run else database.atomic(existing=True) as connection:
            files = _Files(connection, unique, before)
            found = files.after(after)
            _settle(files, found, values, dry_run, counts)
        if len(found) < _AT_ONCE:
            return
        after = found[-1].number
        looked += len(found)
        if progress is not None:
            progress("looking at deleted files", looked, None)


@dataclass(frozen=True)
class _Old:
    """A file that was deleted long ago."""

    number: int
    name: str
    state_revision: int
    vanished: bool
    emptied: bool
    has_values: bool


class _Files:
    """The rows of ``files`` that may go, in one transaction."""

    def __init__(self, connection: sqlite3.Connection, unique: str, before: str) -> None:
        self._connection = connection
        self._before = before
        self._remote = KeyColumns.load(connection, REMOTE, unique)
        self._client = KeyColumns.load(connection, CLIENT, unique)
        self._which = "__deleted AND __state_last_updated < ?"

    def after(self, number: int) -> list[_Old]:
        own = [*self._client.sql, "__local_types", "__local_more"]
        has_values = " OR ".join(f"{column} IS NOT NULL" for column in own)
        rows = self._connection.execute(
            f"SELECT rowid, {self._remote.unique_sql}, __state_rev, __fingerprint IS NULL, __deleted_reason IS ?, "
            f"{has_values} FROM files WHERE rowid > ? AND {self._which} ORDER BY rowid LIMIT ?",
            (PRUNED, number, self._before, _AT_ONCE),
        )
        return [_Old(row[0], str(row[1]), row[2], *map(bool, row[3:])) for row in rows]

    def empty(self, names: list[str]) -> None:
        columns = [name for name in self._remote.sql if name != self._remote.unique_sql]
        columns += [*self._client.sql, "__types", "__more", "__local_types", "__local_more"]
        nothing = ", ".join(f"{column} = NULL" for column in columns)
        for where, chunk in self._chunks(names):
            self._connection.execute(f"UPDATE files SET {nothing}, __deleted_reason = ? {where}", (PRUNED, *chunk))

    def remove(self, names: list[str]) -> None:
        for where, chunk in self._chunks(names):
            self._connection.execute(f"DELETE FROM files {where}", chunk)

    def _chunks(self, names: list[str]) -> Iterator[tuple[str, list[str]]]:
        for chunk in in_chunks(names, PER_STATEMENT):
            yield f"WHERE {self._remote.unique_sql} IN ({', '.join('?' * len(chunk))})", chunk


def _settle(files: _Files, found: list[_Old], values: bool, dry_run: bool, counts: _Counts) -> None:
    """Empty or remove what nobody needs of these; each is counted once, however it goes."""
    connection = files._connection
    said = standing(connection, {old.name: old.state_revision for old in found})
    empty, remove, free = [], [], []
    for old in found:
        gone = old.vanished and old.name not in said.known
        if old.name in said.needed:
            counts.kept_jobs += 1
        elif old.has_values and not values:
            counts.kept_values += 1
        elif gone:
            remove.append(old.name)
            free.append(old.name)
        else:
            free.append(old.name)
            if not old.emptied:
                empty.append(old.name)
    counts.files += len(empty) + len(remove)
    counts.rows += delete_untouched(connection, free, dry_run=dry_run)
    if not dry_run:
        files.empty(empty)
        files.remove(remove)


def _vacuum(database: StateDatabase, layout: Layout, progress: Progress | None) -> str | None:
    """Give free space back; why not, where that has to wait."""
    workers = living(layout.workers)
    if workers:
        return f"{len(workers)} worker{' is' if len(workers) == 1 else 's are'} at work, whom it would hold up"
    if progress is not None:
        progress("writing the state db anew", 0, None)
    database.vacuum()
    return None
