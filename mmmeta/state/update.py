"""``update``: metadata db to state db.

One transaction of the state db, with meta.db attached read-only. Usually only rows above the last merged revision are
read. The sums of fingerprints on both sides must agree at the end; where they do not, or where the metadata db's history
does not contain what was merged last, everything is compared once. An update writes the remote's columns only.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mmmeta.catalog.tables import table_names, write_info
from mmmeta.clock import Clock, to_text, utcnow
from mmmeta.errors import DigestMismatchError, MassDeletionError, MetadataDbError, StaleMetadataError, StateDbError
from mmmeta.layout import why_misplaced
from mmmeta.metadata.changelog.sources import Content, Source
from mmmeta.metadata.database import MetadataDatabase
from mmmeta.metadata.db import (
    Head,
    is_mass_deletion,
    last_told,
    mass_deletion_text,
    read_head,
    replaced_by,
    revision_digest,
)
from mmmeta.metadata.proof import digest_mismatch, prove_whole
from mmmeta.sqlite.damage import Damage
from mmmeta.state.database import StateDatabase
from mmmeta.state.db import WORD, Merged, create_tables, read_merged
from mmmeta.state.ledger.copies import Word
from mmmeta.state.merge import Counts, Merger, Mismatch
from mmmeta.writing import sweep_beside

NOTHING_NEW = "nothing new"
CHANGES = "changes"
EVERYTHING = "everything"
REPAIR = "repair"


@dataclass(frozen=True, kw_only=True)
class UpdateOptions:
    """What ``Metadir.update`` was asked for; see there."""

    replace: bool = False
    accept_older: bool = False
    allow_mass_delete: bool = False
    dry_run: bool = False


@dataclass(frozen=True)
class Announced:
    """What the store says of the remote, read before the metadata db is.

    Attributes:
        updated: text of ``remote_last_updated``; None if it is not set.
        revision: ``remote_revision``.
    """

    updated: str | None
    revision: object = None

    def reached(self, revision: int) -> bool:
        """Whether a metadata db of this revision is the announced one; a sync may bring the store first."""
        return not isinstance(self.revision, int) or self.revision <= revision


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


class _DryRun(Exception):
    """Rolls the transaction back after everything was counted."""


class _NotEnough(Exception):
    """Rolls the transaction back where everything is to be compared, and only what changed was read."""


class Updater:
    """One run of update."""

    def __init__(
        self,
        find: Callable[[Content | None], list[Source]],
        state: StateDatabase,
        options: UpdateOptions,
        announced: Announced,
        clock: Clock = utcnow,
    ) -> None:
        """``find`` gives where to read from, the best first, for what is merged."""
        self._find = find
        self._state = state
        self._options = options
        self._announced = announced
        self._clock = clock
        self._notes: list[str] = []
        self._metadata: MetadataDatabase

    def run(self) -> UpdateReport:
        """Do it; see ``Metadir.update``."""
        started = time.monotonic()
        merged = None
        if self._state.exists():
            with self._state.reading() as connection:
                merged = read_merged(connection, self._state)
        content = None if merged is None or not merged.metadata_id else merged.content
        best, *others = self._find(None if self._options.replace else content)
        self._say_misplaced(best.layout.base)
        if merged is not None and merged.is_all_of(best.head) and not self._options.replace:
            self._keep_remote_last_updated(merged, best.head)
            if not self._options.dry_run and (word := self._word(merged, best.head, NOTHING_NEW)):
                with self._state.atomic() as connection:
                    write_info(connection, **word)
            sweep_beside(self._changes)
            return self._report(started, Counts(), merged, best.head, NOTHING_NEW)
        noted = list(self._notes)
        try:
            return self._report(started, *self._read(best, merged))
        except (MetadataDbError, DigestMismatchError) as error:
            for other in others:
                self._notes = [*noted, f"{str(error).rstrip('.')}. So {other.path} was read"]
                with suppress(MetadataDbError, DigestMismatchError):
                    return self._report(started, *self._read(other, merged))
            raise

    def _read(self, source: Source, merged: Merged | None) -> tuple[Counts, Merged | None, Head, str]:
        """Merge from one source, whole where what changed is not enough."""
        noted = [*self._notes, *([] if source.note is None else [source.note])]
        content = None if merged is None or self._options.replace else merged.content
        since = content.revision if content is not None and source.leads_on_from(content) else 0
        for revision in dict.fromkeys((since, 0)):
            self._notes = list(noted)
            with self._place() as place, source.lent(revision, place) as self._metadata, suppress(_NotEnough):
                return self._merge_from(source, merged)
        raise AssertionError("all of a log is enough")

    @property
    def _changes(self) -> Path:
        return self._state.path.with_name(f"{self._state.path.name}.changes")

    @contextmanager
    def _place(self) -> Iterator[Path]:
        """Where a database may be made for this update: beside the state db; in a dry run nothing is made there."""
        if not self._options.dry_run:
            yield self._changes
            return
        with tempfile.TemporaryDirectory(prefix="mmmeta-dry-run-") as folder:
            yield Path(folder) / "changes"

    def _merge_from(self, source: Source, merged: Merged | None) -> tuple[Counts, Merged | None, Head, str]:
        head = source.head
        if merged is None or not merged.metadata_id:
            with self._metadata.reading() as connection:
                head = read_head(connection, self._metadata)
                prove_whole(connection, self._metadata, head)  # before the state db is made
        if self._options.dry_run and merged is None:
            return Counts(added=head.alive), None, head, EVERYTHING
        try:
            with self._state.merging(self._metadata) as connection:
                counts, merged, head, how = self._merge(connection)
                if self._options.dry_run:
                    raise _DryRun
        except _DryRun:
            pass
        return counts, merged, head, how

    def _report(self, started: float, counts: Counts, merged: Merged | None, head: Head, how: str) -> UpdateReport:
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

    def _keep_remote_last_updated(self, merged: Merged, head: Head) -> None:
        """Somebody touched the store without new metadata: note it, so that it counts as seen."""
        updated = self._updated(merged, head)
        if merged.remote_last_updated != updated and not self._options.dry_run:
            with self._state.atomic() as connection:
                write_info(connection, remote_last_updated=updated)

    def _say_misplaced(self, base: Path) -> None:
        misplaced = why_misplaced(base)
        if misplaced is not None:
            self._notes.append(misplaced)

    def _updated(self, merged: Merged, head: Head) -> str | None:
        """The ``remote_last_updated`` that counts as merged; the old one while the metadata db is still on its way."""
        if self._announced.reached(head.revision):
            return self._announced.updated
        self._notes.append(
            f"the store announces revision {self._announced.revision}, the metadata db is at {head.revision}: the sync has "
            "not finished, update again after it"
        )
        return merged.remote_last_updated

    def _merge(self, connection: sqlite3.Connection) -> tuple[Counts, Merged, Head, str]:
        head = read_head(connection, self._metadata, "remote")
        if not table_names(connection):
            create_tables(connection, head.unique)
        merged = read_merged(connection, self._state)
        assert merged is not None
        if merged.unique != head.unique:
            raise StateDbError(
                f"the remote identifies files by {head.unique!r} now, {self._state.path} by {merged.unique!r}: files cannot be "
                "matched by it. `mmmeta state rekey --dry-run` says by what else, and without --dry-run brings the state db over"
            )
        how = self._choose(connection, merged, head)
        if how != CHANGES:
            self._require_all()
        # Before anything is written: a merger makes columns for new keys, and a repair begins without them again.
        connection.execute("SAVEPOINT changes")
        merger = Merger(connection, merged, head, to_text(self._clock()), replace=self._options.replace)
        if how == CHANGES:
            try:
                counts = merger.merge_changes()
            except Mismatch:
                self._require_all()
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
            except Mismatch:
                if merger.remote_adds_up():
                    raise Damage("its files do not add up to what was merged into it") from None
                raise digest_mismatch(self._metadata, head) from None
        self._guard(connection, counts, merged, head)
        write_info(
            connection,
            metadata_id=head.id,
            revision=head.revision,
            digest=head.digest,
            remote_last_updated=self._updated(merged, head),
            alive=_alive_after(merged, counts),
            merged_at=to_text(self._clock()),
            **self._word(merged, head, how),
        )
        return counts, merged, head, how

    def _word(self, merged: Merged, head: Head, how: str) -> dict[str, str]:
        """What a ledger elsewhere is to be told, as an entry of the table ``info``."""
        options = self._options
        is_another = bool(merged.metadata_id) and merged.metadata_id != head.id
        if not (is_another or options.accept_older or (options.allow_mass_delete and how != CHANGES)):
            return {}
        return {WORD: json.dumps(Word(uuid.uuid4().hex, options.accept_older, options.allow_mass_delete))}

    def _require_all(self) -> None:
        if self._metadata.since:
            raise _NotEnough

    def _choose(self, connection: sqlite3.Connection, merged: Merged, head: Head) -> str:
        """Whether the changes are enough, or everything must be compared."""
        if not merged.metadata_id:
            return EVERYTHING
        if merged.metadata_id != head.id:
            if self._options.replace:
                return EVERYTHING
            self._notes.append("the metadata db was made anew, so everything was compared")
            return REPAIR
        if merged.is_newer_than(head):
            if not self._options.accept_older:
                raise StaleMetadataError(
                    f"{self._metadata.shown} is a stale copy: revision {head.revision}, merged already {merged.revision}. Sync "
                    "again; if the remote really went back, repeat with accept_older=True (`--accept-older`)"
                )
            self._notes.append(f"went back from revision {merged.revision} to {head.revision}, as asked")
            return EVERYTHING if self._options.replace else REPAIR
        if self._options.replace:
            return EVERYTHING
        if revision_digest(connection, merged.revision, "remote") != merged.digest:
            self._notes.append(
                f"the metadata db's history does not contain revision {merged.revision} as it was merged (two servers, or a "
                "restored backup), so everything was compared"
            )
            return REPAIR
        return CHANGES

    def _guard(self, connection: sqlite3.Connection, counts: Counts, merged: Merged, head: Head) -> None:
        before = merged.alive
        alive = _alive_after(merged, counts)
        if self._options.allow_mass_delete or not counts.deleted:
            return
        # A mark counts only in the history that was merged: what another archive once was told is not about these files.
        ours = merged.metadata_id == head.id or merged.metadata_id in replaced_by(connection, "remote")[0]
        # Another archive's copy in this place has none of the files that were merged, and files of its own.
        is_another = not ours and counts.deleted >= before
        if not (is_another or is_mass_deletion(counts.deleted, before, alive)):
            return
        if not ours or last_told(connection, "remote") <= merged.revision:
            raise MassDeletionError(
                f"{mass_deletion_text(counts.deleted, before, alive)} If they are really gone at the remote, repeat with "
                "allow_mass_delete=True (`--allow-mass-delete`)"
            )


def _alive_after(merged: Merged, counts: Counts) -> int:
    return merged.alive + counts.added + counts.returned - counts.deleted
