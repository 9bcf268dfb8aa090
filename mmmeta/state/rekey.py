"""A state db for a metadata db that identifies files by something else: what is known of each file goes with it.

The new state db is made aside and put into the old one's place as a copy that is restored: all of it or nothing. What was
there stays beside it (``BEFORE``).
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from mmmeta.catalog.catalog import FileRow
from mmmeta.catalog.columns import REMOTE, KeyColumns
from mmmeta.catalog.tables import STATE_SYSTEM, write_info
from mmmeta.chunks import in_chunks
from mmmeta.clock import Clock, to_text, utcnow
from mmmeta.errors import MassDeletionError, StateDbError, near_misses
from mmmeta.filters import All
from mmmeta.layout import Layout
from mmmeta.metadata.changelog.sources import sources
from mmmeta.metadata.database import MetadataDatabase
from mmmeta.metadata.db import is_mass_deletion, mass_deletion_text
from mmmeta.reports import Progress
from mmmeta.state.backup import restore
from mmmeta.state.candidates import Candidates
from mmmeta.state.database import StateDatabase
from mmmeta.state.db import Merged, merged_of, next_state_revision, state_catalog
from mmmeta.state.ledger.rules import JobRules
from mmmeta.state.ledger.sqlite.rekeying import Same, copy_job, copy_rest, note_names
from mmmeta.state.ledger.sqlite.view import SqliteLedgerView
from mmmeta.state.liveness import living
from mmmeta.state.matching import Matches, Side, match
from mmmeta.state.merge import VANISHED
from mmmeta.state.open import require_own_ledger
from mmmeta.state.own_values import save_local
from mmmeta.state.update import Announced, UpdateOptions, Updater

BEFORE = ".before-rekey"
"""Suffix of the state db that was there before; one such is kept."""

_AT_ONCE = 500

SameVersion = Callable[[JobRules, FileRow, FileRow], bool]
"""Whether a job with these rules takes what two rows say for one version of a file."""


@dataclass
class JobMoved:
    """What becomes of one job's files.

    Attributes:
        done: done before, and done now.
        again: done before, matched, and due anew: what the job compares is another.
        left: rows that stay with files that have no match; these count as deleted at the remote.
    """

    done: int = 0
    again: int = 0
    left: int = 0


@dataclass(frozen=True)
class RekeyReport:
    """What was matched, and what goes with it.

    Attributes:
        before, now: the keys that identified files, and identify them.
        files: how many were alive before.
        matches: which file is which.
        values_moved: files whose own values go with them; ``values_left``: files whose own values stay with what has no match.
        jobs: by name.
        kept: where the old state db stays.
    """

    before: str
    now: str
    files: int
    matches: Matches
    values_moved: int
    values_left: int
    kept: str
    jobs: dict[str, JobMoved] = field(default_factory=dict)
    dry_run: bool = False


def rekey(
    layout: Layout,
    same_version: SameVersion,
    *,
    by: Sequence[str] = (),
    content: str = "content_hash",
    allow_mass_delete: bool = False,
    dry_run: bool = False,
    clock: Clock = utcnow,
    progress: Progress | None = None,
) -> RekeyReport:
    """Bring the state db over to what identifies files in the metadata db now.

    Args:
        by: keys by which files are matched, one after the other; unless given what identified them, what identifies them
            now, and the content key.
        content: the content key.
        allow_mass_delete: go on although most files have no match.
        dry_run: do all of it aside, and throw it away.

    Raises:
        StateDbError: there is nothing to do, no key to match by, or workers are at work.
        MassDeletionError: most files have no match.
    """
    require_own_ledger(layout, "state rekey", "remove the schema and adopt what is there (`mmmeta jobs adopt JOB`)")
    with (
        closing(StateDatabase(layout.state)) as old,
        closing(MetadataDatabase(layout.meta_db, server_mark=layout.server_mark, read_only=True)) as metadata,
    ):
        merged = merged_of(old)
        if merged is None:
            raise StateDbError(
                f"no state db at {layout.state}: `mmmeta update` makes one, by whatever identifies files"
            )
        find = partial(sources, layout, metadata, own=layout.server_mark.exists())
        head = find(None)[0].head
        if not living(layout.workers):
            _remove_left(layout.state)  # also where one was killed that had done all but this
        if head.unique == merged.unique:
            raise StateDbError(
                f"files are identified by {head.unique!r} on both sides: there is nothing to do, `mmmeta update` goes on"
            )
        workers = living(layout.workers)
        if workers:
            raise StateDbError(
                f"{len(workers)} worker{' is' if len(workers) == 1 else 's are'} at work on {layout.base}: wait for the end "
                "of their runs, or end them"
            )
        with _aside(layout.state) as path, closing(StateDatabase(path)) as new:
            Updater(find, new, UpdateOptions(), Announced(merged.remote_last_updated), clock).run()
            report = _Rekeying(old, new, merged, same_version, clock, progress).run(
                by, list(dict.fromkeys((merged.unique, head.unique, content)))
            )
            lost = len(report.matches.alone) + len(report.matches.ambiguous)
            if is_mass_deletion(lost, merged.alive, head.alive) and not allow_mass_delete:
                raise MassDeletionError(
                    f"{len(report.matches.names)} files have a match; {mass_deletion_text(lost, merged.alive, head.alive)} Name "
                    "a key that both sides have with --by, or go on with --allow-mass-delete"
                )
            new.close()
            if not dry_run:
                old.close()
                restore(path, layout, before=BEFORE, progress=progress)
    return report if not dry_run else RekeyReport(**{**vars(report), "dry_run": True})


@contextmanager
def _aside(state: Path) -> Iterator[Path]:
    try:
        yield state.with_name(f"{_beginning(state)}{secrets.token_hex(6)}")
    finally:
        _remove_left(state)


def _beginning(state: Path) -> str:
    return f".{state.name[:40]}.rekey-"


def _remove_left(state: Path) -> None:
    """Take away what was made aside, by one that was killed, too; what cannot be, the next one does."""
    with suppress(OSError):
        for left in state.parent.iterdir():
            if left.name.startswith(_beginning(state)):
                left.unlink(missing_ok=True)


class _Rekeying:
    """From one state db into another, which has merged the metadata db and nothing else."""

    def __init__(
        self,
        old: StateDatabase,
        new: StateDatabase,
        merged: Merged,
        same_version: SameVersion,
        clock: Clock,
        progress: Progress | None,
    ) -> None:
        self._old, self._new, self._merged = old, new, merged
        self._same_version = same_version
        self._stamp = to_text(clock())
        self._progress = progress
        self._theirs = state_catalog(old, clock())
        self._ours = state_catalog(new, clock())

    def run(self, named: Sequence[str], usual: Sequence[str]) -> RekeyReport:
        """Do it, by the keys that a person has named, or by the usual ones."""
        known = set(self._theirs.keys) & set(self._ours.keys)
        strange = [key for key in named if key not in known]
        if strange:
            raise StateDbError(
                f"files cannot be matched by {strange[0]!r}: not both sides have it.{near_misses(strange[0], known)}"
            )
        keys = [key for key in named or usual if key in known]
        if not keys:
            raise StateDbError(
                f"files cannot be matched by {', '.join(usual)}: not both sides have it. Name a key with --by"
            )
        before, now = (self._side(catalog.rows(All(()), deleted=None), keys) for catalog in (self._theirs, self._ours))
        matches = match(before, now, keys)
        clashes = [name for name in before.alive if name not in matches.names and name in now.alive]
        if clashes:
            raise StateDbError(
                f"{clashes[0]!r} is one file by {self._merged.unique!r} and another by {self._ours.unique!r} "
                f"({len(clashes)} such): they cannot be told apart. Name another key with --by"
            )
        jobs = self._jobs()
        same = {rules.name: list(self._same(rules, matches)) for rules in jobs}
        moved, left = self._write(matches, jobs, same)
        return RekeyReport(
            self._merged.unique,
            self._ours.unique,
            self._merged.alive,
            matches,
            moved,
            left,
            f"{self._old.path}{BEFORE}",
            {rules.name: self._counted(rules, matches, same[rules.name]) for rules in jobs},
        )

    def _tell(self, what: str, done: int) -> None:
        if self._progress is not None:
            self._progress(what, done, None)

    def _side(self, rows: Iterator[FileRow], keys: Sequence[str]) -> Side:
        side = Side(keys)
        for number, row in enumerate(rows, start=1):
            side.add(row.unique_value, row.remote, alive=not row.system["__deleted"])
            if number % _AT_ONCE == 0:
                self._tell("matching files", number)
        return side

    def _jobs(self) -> list[JobRules]:
        with self._old.reading() as connection:
            view = SqliteLedgerView(connection)
            return [rules for job in view.jobs() if (rules := view.rules(job)) is not None]

    def _same(self, rules: JobRules, matches: Matches) -> Iterator[Same]:
        """The files whose version is what it was, with the texts that each side has for it."""
        theirs = Candidates(self._old, self._theirs, rules)
        ours = Candidates(self._new, self._ours, rules)
        for chunk in in_chunks(matches.names.items(), _AT_ONCE):
            pairs = dict(chunk)
            rows, new_rows = self._theirs.by_unique(list(pairs)), self._ours.by_unique(list(pairs.values()))
            before = {one.file: one.wanted for one in theirs.named(list(pairs))}
            now = {one.file: one.wanted for one in ours.named(list(pairs.values()))}
            for old, new in pairs.items():
                if self._same_version(rules, rows[old], new_rows[new]):
                    yield Same(old, before[old], now[new])

    def _write(self, matches: Matches, jobs: list[JobRules], same: dict[str, list[Same]]) -> tuple[int, int]:
        moved = left = 0
        with self._new.atomic() as connection:
            columns = KeyColumns.load(connection, REMOTE, self._ours.unique)
            revision = next_state_revision(connection)
            for row in self._theirs.rows(All(()), deleted=None):
                if row.unique_value not in matches.names:
                    self._keep(connection, columns, row, revision)
            columns.flush()
            # After all of the remote's keys have their columns.
            for number, row in enumerate(self._theirs.rows(All(()), deleted=None), start=1):
                values = {key: value for key, value in row.local.items() if key != self._ours.unique}
                if values:
                    name = matches.names.get(row.unique_value)
                    moved, left = (moved + 1, left) if name is not None else (moved, left + 1)
                    file = name or row.unique_value
                    save_local(connection, self._ours.unique, file, values, set(), self._stamp)
                if number % _AT_ONCE == 0:
                    self._tell("moving what was set here", number)
        with self._attached() as connection:
            note_names(connection, matches.names)
            for rules in jobs:
                self._tell(f"moving {rules.name}", 0)
                copy_job(connection, rules.name, same[rules.name])
            copy_rest(connection)
            base = connection.execute("SELECT value FROM old.info WHERE name = 'token_base'").fetchone()[0]
            write_info(connection, id=self._merged.state_id, token_base=base)
        return moved, left

    def _keep(self, connection: sqlite3.Connection, columns: KeyColumns, row: FileRow, revision: int) -> None:
        """A file without a match stays under its name, deleted, as one that has vanished at the remote."""
        cells, types, more = columns.encode({**row.remote, self._ours.unique: row.unique_value})
        system = dict.fromkeys(STATE_SYSTEM) | {
            name: row.system[name] for name in STATE_SYSTEM if name.startswith(("__meta", "__source", "__state_added"))
        }
        deleted = bool(row.system["__deleted"])
        system |= {
            "__types": types,
            "__more": more,
            "__deleted": 1,
            "__deleted_at": row.system["__deleted_at"] if deleted else self._stamp,
            "__deleted_reason": row.system["__deleted_reason"] if deleted else VANISHED,
            "__state_last_updated": self._stamp,
            "__state_rev": revision,
        }
        names = [*columns.sql, *system]
        connection.execute(
            f"INSERT INTO files ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})", (*cells, *system.values())
        )

    @contextmanager
    def _attached(self) -> Iterator[sqlite3.Connection]:
        """A transaction of the new one, with the old one readable beside it."""
        self._new.close()
        try:
            with closing(sqlite3.connect(self._new.path, isolation_level=None)) as connection:
                connection.execute("ATTACH ? AS old", (str(self._old.path),))
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
        except sqlite3.Error as error:  # SQLite does not say which of the two
            remedy = "make room on its disk" if "full" in str(error) else "check its permissions and its disk"
            raise StateDbError(
                f"{self._old.path}, or the new one beside it ({self._new.path.name}), cannot be used: {error}; {remedy}. "
                "The state db is as it was"
            ) from error

    def _counted(self, rules: JobRules, matches: Matches, same: list[Same]) -> JobMoved:
        kept = {one.old: one.before for one in same}
        counts = JobMoved()
        with self._old.reading() as connection:
            view = SqliteLedgerView(connection)
            for chunk in in_chunks(view.names(rules.name, ("done",)), _AT_ONCE):
                for file, version in view.done_versions(rules.name, chunk).items():
                    if file not in matches.names:
                        counts.left += 1
                    elif kept.get(file) == version:
                        counts.done += 1
                    else:
                        counts.again += 1
        return counts
