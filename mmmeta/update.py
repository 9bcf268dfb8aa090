"""``update``: metadata db to state db.

One transaction of the state db, with meta.db attached read-only. Usually only rows above the last merged revision are
read. The sums of fingerprints on both sides must agree at the end; where they do not, or where the metadata db's history
does not contain what was merged last, everything is compared once. An update writes the remote's columns only.
"""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass

from mmmeta.clock import Clock, to_text, utcnow
from mmmeta.database import Database, quote_identifier
from mmmeta.errors import DigestMismatchError, MassDeletionError, StaleMetadataError, StateDbError
from mmmeta.metadata_db import MASS_DELETION_MINIMUM, Head, read_head, revision_digest
from mmmeta.schema import META_SYSTEM, REMOTE, Columns, table_names, write_info
from mmmeta.state_db import Merged, create_tables, next_state_revision, read_merged
from mmmeta.values import DIGEST_MODULUS, digest_bytes, digest_sum

NOTHING_NEW = "nothing new"
CHANGES = "changes"
EVERYTHING = "everything"
REPAIR = "repair"

VANISHED = "vanished at the remote"

_ROWS_AT_ONCE = 2_000


@dataclass(frozen=True)
class UpdateOptions:
    """What ``Metadir.update`` was asked for; see there."""

    replace: bool = False
    accept_older: bool = False
    allow_mass_delete: bool = False
    dry_run: bool = False


@dataclass(frozen=True)
class UpdateReport:
    """What an update did.

    Attributes:
        added, changed, deleted, returned, unchanged: numbers of files.
        revision_before: of the metadata db as merged before, None at the first update.
        how: ``"nothing new"``, ``"changes"`` (only rows above the last revision were read), ``"everything"`` (the first
            update, or ``replace``) or ``"repair"`` (everything was compared because the histories did not fit).
        notes: sentences for a person.
        duration: seconds.
    """

    added: int
    changed: int
    deleted: int
    returned: int
    unchanged: int
    revision_before: int | None
    revision: int
    how: str
    notes: tuple[str, ...]
    duration: float
    dry_run: bool = False


@dataclass(frozen=True)
class _Counts:
    added: int = 0
    changed: int = 0
    deleted: int = 0
    returned: int = 0


class _Mismatch(Exception):
    """The sums of fingerprints differ; what was written is rolled back."""


class _DryRun(Exception):
    """Rolls the transaction back after everything was counted."""


class Updater:
    """One run of update."""

    def __init__(
        self,
        metadata: Database,
        state: Database,
        options: UpdateOptions,
        remote_last_updated: str | None,
        clock: Clock = utcnow,
    ) -> None:
        self._metadata = metadata
        self._state = state
        self._options = options
        self._remote_last_updated = remote_last_updated
        self._clock = clock
        self._notes: list[str] = []

    def run(self) -> UpdateReport:
        """Do it; see ``Metadir.update``."""
        started = time.monotonic()
        with self._metadata.reading() as connection:
            head = read_head(connection, self._metadata)
        merged = None
        if self._state.exists():
            with self._state.reading() as connection:
                merged = read_merged(connection, self._state)
        if merged is not None and self._same(merged, head) and not self._options.replace:
            self._keep_remote_last_updated(merged)
            return self._report(started, _Counts(), merged, head, NOTHING_NEW)
        if self._options.dry_run and merged is None:
            return self._report(started, _Counts(added=head.alive), None, head, EVERYTHING)
        try:
            with self._state.atomic(attach=self._metadata.path) as connection:
                counts, merged, head, how = self._merge(connection)
                if self._options.dry_run:
                    raise _DryRun
        except _DryRun:
            pass
        return self._report(started, counts, merged, head, how)

    def _report(self, started: float, counts: _Counts, merged: Merged | None, head: Head, how: str) -> UpdateReport:
        before = merged.alive if merged is not None else 0
        unchanged = max(0, before - counts.changed - counts.deleted)
        return UpdateReport(
            added=counts.added,
            changed=counts.changed,
            deleted=counts.deleted,
            returned=counts.returned,
            unchanged=unchanged,
            revision_before=merged.revision if merged is not None and merged.metadata_id else None,
            revision=head.revision,
            how=how,
            notes=tuple(self._notes),
            duration=time.monotonic() - started,
            dry_run=self._options.dry_run,
        )

    @staticmethod
    def _same(merged: Merged, head: Head) -> bool:
        return (merged.metadata_id, merged.revision, merged.digest) == (head.id, head.revision, head.digest)

    def _keep_remote_last_updated(self, merged: Merged) -> None:
        """Somebody touched the store without new metadata: note it, so that it counts as seen."""
        if merged.remote_last_updated != self._remote_last_updated and not self._options.dry_run:
            with self._state.atomic() as connection:
                write_info(connection, remote_last_updated=self._remote_last_updated)

    def _merge(self, connection: sqlite3.Connection) -> tuple[_Counts, Merged, Head, str]:
        head = read_head(connection, self._metadata, "remote")
        if not table_names(connection):
            create_tables(connection, head.unique)
        merged = read_merged(connection, self._state)
        assert merged is not None
        if merged.unique != head.unique:
            raise StateDbError(
                f"the remote identifies files by {head.unique!r} now, {self._state.path} by {merged.unique!r}: files cannot be "
                "matched. Move the state db away, or give another one with MMMETA_STATE, and update again"
            )
        how = self._choose(connection, merged, head)
        merger = Merger(connection, merged, head, to_text(self._clock()), replace=self._options.replace)
        if how == CHANGES:
            connection.execute("SAVEPOINT changes")
            try:
                counts = merger.merge_changes()
            except _Mismatch:
                connection.execute("ROLLBACK TO changes")
                self._notes.append(
                    "the digests did not agree after merging the changes, so everything was compared and repaired"
                )
                how = REPAIR
                merger = Merger(connection, merged, head, to_text(self._clock()), replace=False)
            connection.execute("RELEASE changes")
        if how != CHANGES:
            try:
                counts = merger.merge_everything()
            except _Mismatch:
                raise DigestMismatchError(
                    f"{self._metadata.path} says digest {head.digest.hex()} at revision {head.revision}, its rows give another: "
                    "it was copied while it was written, or is damaged. Nothing was changed; sync the metadir again"
                ) from None
        self._guard(connection, counts, merged, head)
        write_info(
            connection,
            metadata_id=head.id,
            revision=head.revision,
            digest=head.digest,
            remote_last_updated=self._remote_last_updated,
            alive=merged.alive + counts.added + counts.returned - counts.deleted,
        )
        return counts, merged, head, how

    def _choose(self, connection: sqlite3.Connection, merged: Merged, head: Head) -> str:
        """Whether the changes are enough, or everything must be compared."""
        if not merged.metadata_id or self._options.replace:
            return EVERYTHING
        if merged.metadata_id != head.id:
            self._notes.append("the metadata db was made anew, so everything was compared")
            return REPAIR
        if head.revision < merged.revision:
            if not self._options.accept_older:
                raise StaleMetadataError(
                    f"{self._metadata.path} is a stale copy: revision {head.revision}, merged already {merged.revision}. Sync "
                    "again; if the remote really went back, repeat with accept_older=True (`--accept-older`)"
                )
            self._notes.append(f"went back from revision {merged.revision} to {head.revision}, as asked")
            return REPAIR
        if revision_digest(connection, merged.revision, "remote") != merged.digest:
            self._notes.append(
                f"the metadata db's history does not contain revision {merged.revision} as it was merged (two servers, or a "
                "restored backup), so everything was compared"
            )
            return REPAIR
        return CHANGES

    def _guard(self, connection: sqlite3.Connection, counts: _Counts, merged: Merged, head: Head) -> None:
        if counts.deleted < MASS_DELETION_MINIMUM or self._options.allow_mass_delete:
            return
        before = merged.alive
        if counts.deleted * 2 <= before:
            return
        since = merged.revision if merged.metadata_id == head.id else 0
        (told,) = connection.execute(
            "SELECT count(*) FROM remote.revisions WHERE rev > ? AND mass_delete", (since,)
        ).fetchone()
        if not told:
            raise MassDeletionError(
                f"{counts.deleted} of {before} files would be deleted; nothing was changed. If they are really gone at the "
                "remote, repeat with allow_mass_delete=True (`--allow-mass-delete`)"
            )


class Merger:
    """Brings rows of the attached metadata db (schema ``remote``) into the state db, inside the caller's transaction."""

    def __init__(self, connection: sqlite3.Connection, merged: Merged, head: Head, now: str, *, replace: bool) -> None:
        self._connection = connection
        self._merged = merged
        self._head = head
        self._now = now
        self._replace = replace
        self._theirs = Columns.load(connection, REMOTE, head.unique, "remote")
        self._ours = Columns.load(connection, REMOTE, head.unique)
        self._copyable = self._adopt_registry()
        self._their_unique = quote_identifier(self._theirs.slots[head.unique].column or head.unique)
        self._our_unique = quote_identifier(self._ours.slots[head.unique].column or head.unique)

    def merge_changes(self) -> _Counts:
        """Merge the rows above the last merged revision."""
        self._note_changed("r.__rev > ?", (self._merged.revision,))
        return self._merge(int.from_bytes(self._merged.digest, "big"))

    def merge_everything(self) -> _Counts:
        """Merge all rows that differ, and mark deleted what the metadata db does not have."""
        (present,) = self._connection.execute("SELECT EXISTS (SELECT 1 FROM main.files)").fetchone()
        if not present:
            return self._merge_first()
        differs = "1" if self._replace else "l.__fingerprint IS NOT r.__fingerprint OR l.__source IS NOT r.__source"
        self._note_changed(differs, ())
        vanished = self._mark_vanished()
        counts = self._merge(None)
        return _Counts(counts.added, counts.changed, counts.deleted + vanished, counts.returned)

    def _adopt_registry(self) -> bool:
        """Make room for the remote's keys; True if cells mean the same on both sides, so that SQL may copy them."""
        copyable = True
        for theirs in self._theirs.slots.values():
            ours = self._ours.slots.get(theirs.key)
            if ours is None:
                ours = self._ours.add(theirs.key, number=theirs.id, usual=theirs.usual)
            if ours.usual is None and theirs.usual is not None:
                ours.usual = theirs.usual
            for kind in theirs.kinds:
                if kind not in ours.kinds:
                    self._ours.learn(ours, kind)
            copyable = copyable and ours.same_mapping(theirs)
        return copyable

    def _note_changed(self, condition: str, parameters: tuple[object, ...]) -> None:
        """Fill the temporary table ``changed`` with the rows to be merged and what is here of them now."""
        self._connection.execute("DROP TABLE IF EXISTS temp.changed")
        self._connection.execute("CREATE TEMP TABLE changed (file TEXT PRIMARY KEY, was BLOB, was_deleted, known)")
        self._connection.execute(
            "INSERT INTO temp.changed "
            f"SELECT r.{self._their_unique}, l.__fingerprint, l.__deleted, l.{self._our_unique} IS NOT NULL "
            f"FROM remote.files AS r LEFT JOIN main.files AS l ON l.{self._our_unique} = r.{self._their_unique} "
            f"WHERE {condition}",
            parameters,
        )

    def _merge(self, digest_before: int | None) -> _Counts:
        """Merge the rows of ``changed``, and prove by the digest that both sides hold the same versions."""
        state_revision = next_state_revision(self._connection)
        counts = self._count()
        if self._copyable:
            self._copy(state_revision, "WHERE r.{unique} IN (SELECT file FROM temp.changed)", upsert=True)
        else:
            self._translate(state_revision)
        self._ours.flush()
        if digest_before is None:
            digest = self._sum("SELECT __fingerprint FROM main.files WHERE __fingerprint IS NOT NULL")
        else:
            removed = self._sum("SELECT was FROM temp.changed WHERE was IS NOT NULL")
            added = self._sum(
                f"SELECT l.__fingerprint FROM temp.changed JOIN main.files AS l ON l.{self._our_unique} = file"
            )
            digest = (digest_before + added - removed) % DIGEST_MODULUS
        self._prove(digest)
        return counts

    def _merge_first(self) -> _Counts:
        """Merge everything into an empty table: no comparing, one INSERT … SELECT."""
        state_revision = next_state_revision(self._connection)
        if self._copyable:
            self._copy(state_revision, "", upsert=False)
        else:
            self._note_changed("1", ())
            self._translate(state_revision)
        self._ours.flush()
        self._prove(self._sum("SELECT __fingerprint FROM main.files"))
        return _Counts(added=self._head.alive)

    def _count(self) -> _Counts:
        row = self._connection.execute(
            "SELECT count(*) FILTER (WHERE NOT known AND NOT r.__deleted), "
            "count(*) FILTER (WHERE known AND NOT was_deleted AND NOT r.__deleted AND was IS NOT r.__fingerprint), "
            "count(*) FILTER (WHERE known AND NOT was_deleted AND r.__deleted), "
            "count(*) FILTER (WHERE known AND was_deleted AND NOT r.__deleted) "
            f"FROM temp.changed JOIN remote.files AS r ON r.{self._their_unique} = file"
        ).fetchone()
        return _Counts(*row)

    def _copy(self, state_revision: int, where: str, *, upsert: bool) -> None:
        pairs = [(quote_identifier(name), f"r.{quote_identifier(name)}") for name in META_SYSTEM]
        for ours in self._ours.ordered:
            theirs = self._theirs.slots.get(ours.key)
            source = "NULL" if theirs is None else f"r.{quote_identifier(theirs.column or theirs.key)}"
            pairs.append((quote_identifier(ours.column or ours.key), source))
        pairs.append(("__state_last_updated", "?1"))
        pairs.append(("__state_rev", "?2"))
        conflict = ""
        if upsert:
            updates = ", ".join(f"{ours} = excluded.{ours}" for ours, _ in pairs if ours != self._our_unique)
            conflict = f" ON CONFLICT ({self._our_unique}) DO UPDATE SET {updates}"
        pairs.append(("__state_added", "?1"))
        names = ", ".join(ours for ours, _ in pairs)
        sources = ", ".join(source for _, source in pairs)
        self._connection.execute(
            f"INSERT INTO main.files ({names}) SELECT {sources} FROM remote.files AS r "
            f"{where.format(unique=self._their_unique)}{conflict}",
            (self._now, state_revision),
        )

    def _translate(self, state_revision: int) -> None:
        """Merge row by row: the two registries give cells different meanings."""
        their_names = ", ".join(f"r.{name}" for name in self._theirs.sql)
        system = ", ".join(f"r.{name}" for name in META_SYSTEM)
        cursor = self._connection.execute(
            f"SELECT r.{self._their_unique}, {system}, {their_names} "
            f"FROM temp.changed JOIN remote.files AS r ON r.{self._their_unique} = file"
        )
        types_at, more_at = 1 + META_SYSTEM.index("__types"), 1 + META_SYSTEM.index("__more")
        width = 1 + len(META_SYSTEM)
        while rows := cursor.fetchmany(_ROWS_AT_ONCE):
            for row in rows:
                values = self._theirs.decode(row[width:], row[types_at], row[more_at])
                cells, types, more = self._ours.encode(values)
                system_cells = [*row[1:width]]
                system_cells[types_at - 1] = types
                system_cells[more_at - 1] = more
                names = [*META_SYSTEM, *self._ours.sql, "__state_last_updated", "__state_rev"]
                updates = ", ".join(f"{name} = excluded.{name}" for name in names if name != self._our_unique)
                self._connection.execute(
                    f"INSERT INTO main.files ({', '.join(names)}, __state_added) "
                    f"VALUES ({', '.join('?' * (len(names) + 1))}) ON CONFLICT ({self._our_unique}) DO UPDATE SET {updates}",
                    (*system_cells, *cells, self._now, state_revision, self._now),
                )

    def _mark_vanished(self) -> int:
        """Mark deleted what the metadata db does not hold any more; returns how many were alive."""
        gone = (
            f"__fingerprint IS NOT NULL AND {self._our_unique} NOT IN (SELECT {self._their_unique} FROM remote.files)"
        )
        (alive,) = self._connection.execute(
            f"SELECT count(*) FROM main.files WHERE __deleted = 0 AND {gone}"
        ).fetchone()
        state_revision = next_state_revision(self._connection)
        self._connection.execute(
            "UPDATE main.files SET __deleted_at = CASE WHEN __deleted THEN __deleted_at ELSE ?1 END, "
            "__deleted_reason = CASE WHEN __deleted THEN __deleted_reason ELSE ?2 END, __deleted = 1, "
            f"__fingerprint = NULL, __state_last_updated = ?1, __state_rev = ?3 WHERE {gone}",
            (self._now, VANISHED, state_revision),
        )
        return int(alive)

    def _sum(self, sql: str) -> int:
        cursor = self._connection.execute(sql)
        total = 0
        while rows := cursor.fetchmany(_ROWS_AT_ONCE):
            total += digest_sum(row[0] for row in rows)
        return total % DIGEST_MODULUS

    def _prove(self, digest: int) -> None:
        if digest_bytes(digest) != self._head.digest:
            raise _Mismatch
