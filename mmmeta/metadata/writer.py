"""The one writer that changes the metadata db.

Whatever changes ``files`` goes through ``MetadataWriter``, inside one transaction, which takes the next revision and
moves the digest by the fingerprints it added and took away. Rows are marked deleted, never removed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from mmmeta.catalog.columns import REMOTE, KeyColumns
from mmmeta.catalog.compiler import Compiler
from mmmeta.catalog.tables import META_SYSTEM, read_info, table_names
from mmmeta.clock import from_text
from mmmeta.errors import MassDeletionError, MmmetaError
from mmmeta.filters import Condition
from mmmeta.fingerprints import deleted_fingerprint, digest_bytes
from mmmeta.metadata.database import MetadataDatabase
from mmmeta.metadata.db import (
    MASS_DELETION_MINIMUM,
    Dropped,
    Head,
    create_tables,
    drop_tables,
    is_mass_deletion,
    mass_deletion_text,
    read_head,
)
from mmmeta.sqlite.statements import execute_in_chunks, quote_identifier

NO_METADATA_FILE = "no metadata file"
NO_DOCUMENT = "no document"
BY_HAND = "deleted"
"""Why a file is deleted, as ``__deleted_reason`` has it; it tells how the file may come back."""

_ROWS_AT_ONCE = 100
"""Few enough to stay in the processor's cache until SQLite takes them."""


class KnownRow(NamedTuple):
    """What the metadata db holds of one file."""

    fingerprint: bytes
    source: str | None
    source_mtime: int | None
    deleted: int
    deleted_reason: str | None
    added: str
    revision: int
    derived: str | None


class Record(NamedTuple):
    """One file to be written; ``values`` holds the kept metadata, flattened, the unique key included, ``derived`` the names
    of those that were derived from the document, as ``__derived`` has them; ``added`` and ``updated``, aware UTC as text, when
    that was where it is known from elsewhere."""

    file: str
    values: dict[str, Any]
    fingerprint: bytes
    source: str | None = None
    source_mtime: int | None = None
    derived: str | None = None
    added: str | None = None
    updated: str | None = None


class MetadataWriter:
    """Changes the metadata db inside a transaction that the caller opened; ``finish`` takes the revision.

    Attributes:
        added, changed, deleted, returned, moved: counts so far; ``returned`` files were deleted before and are alive
            again, of ``moved`` ones only the place of the metadata file differs.
        written: how often a row was written.
        allow_mass_delete: whether ``finish`` may delete more than half of all files, or all.
        found_none: whether files are deleted because nothing at all was found where they come from.
    """

    head: Head
    revision: int
    added: int
    changed: int
    deleted: int
    returned: int
    moved: int
    written: int
    allow_mass_delete: bool
    found_none: bool

    def __init__(
        self,
        connection: sqlite3.Connection,
        database: MetadataDatabase,
        unique: str,
        now: str,
        dropped: Dropped | None = None,
    ) -> None:
        """``dropped`` is the metadata db that this one replaces; its files not written again count as deleted."""
        if not table_names(connection):
            create_tables(connection, unique, dropped)
        self._connection = connection
        self._finished: Head | None = None
        self._dropped: Dropped | None = None
        self.head = read_head(connection, database)
        if self.head.unique != unique and not self.head.revision:
            # Nothing was ever published, so what was wrong in config.yml is mended by mending it.
            create_tables(connection, unique, drop_tables(connection, database, unique))
            self.head = read_head(connection, database)
        if self.head.unique != unique:
            raise MmmetaError(
                f"{database.path} identifies files by {self.head.unique!r}, config.yml by {unique!r}: "
                "run `mmmeta generate --replace` to rebuild the metadata db, or set metadata.unique back"
            )
        self.columns: KeyColumns = KeyColumns.load(connection, REMOTE, unique)
        self._rows: list[list[Any]] = []
        self._waiting: set[str] = set()
        self._width = 0
        self._sql = ""
        self._begin(self.head, now)
        self._dropped = dropped
        self.unique_sql: str = self.columns.unique_sql
        self._known_sql = (
            f"SELECT {self.unique_sql}, __fingerprint, __source, __source_mtime, __deleted, __deleted_reason, "
            f"__meta_added, __rev, __derived FROM files WHERE {self.unique_sql} IN ({{}})"
        )

    def _begin(self, head: Head, now: str) -> None:
        self.head = head
        self.revision = head.revision + 1
        self.added = self.changed = self.deleted = self.returned = self.moved = self.written = 0
        self._by_hand = 0
        self.allow_mass_delete = self.found_none = False
        self._dropped = None
        self._now = now
        self._digest = int.from_bytes(head.digest, "big")

    def resume(self, connection: sqlite3.Connection, unique: str, now: str) -> bool:
        """Begin another transaction after one that was committed; False where the metadata db is no longer as it was left,
        and has to be read anew."""
        head = self._finished
        if head is None or connection is not self._connection or unique != head.unique:
            return False
        self._finished = None
        info = read_info(connection)
        if (info.get("id"), info.get("revision"), info.get("digest")) != (head.id, head.revision, head.digest):
            return False
        self._begin(head, now)
        return True

    def known(self, files: Sequence[str]) -> dict[str, KnownRow]:
        """What is there of these files."""
        if not self.head.revision and not self.added:
            return {}
        if not self._waiting.isdisjoint(files):
            self.flush_rows()
        return {row[0]: KnownRow(*row[1:]) for row in execute_in_chunks(self._connection, self._known_sql, files)}

    def read(self, files: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The metadata of these files, deleted ones included."""
        if not self._waiting.isdisjoint(files):
            self.flush_rows()
        names = ", ".join(self.columns.sql)
        sql = f"SELECT {self.unique_sql}, __types, __more, {names} FROM files WHERE {self.unique_sql} IN ({{}})"
        return {
            row[0]: self.columns.decode(row[3:], row[1], row[2])
            for row in execute_in_chunks(self._connection, sql, files)
        }

    def of_sources(self, sources: Sequence[str]) -> list[tuple[str, str]]:
        """The files that come from one of these, deleted ones included, each with its source."""
        self.flush_rows()
        sql = f"SELECT {self.unique_sql}, __source FROM files WHERE __source IN ({{}})"
        return list(execute_in_chunks(self._connection, sql, sources))

    def matching(self, condition: Condition) -> list[tuple[str]]:
        """The unique values of the alive files that meet a condition."""
        self.flush_rows()
        compiler = Compiler([self.columns], META_SYSTEM, from_text(self._now))
        fragment = compiler.compile(condition)
        return self._connection.execute(
            f"SELECT files.{self.unique_sql} FROM files WHERE __deleted = 0 AND ({fragment.sql})", fragment.parameters
        ).fetchall()

    def put(self, record: Record, known: KnownRow | None) -> None:
        """Write a file as alive; call it only where something differs from what is known."""
        if known is None:
            self.added += 1
        else:
            self._digest -= int.from_bytes(known.fingerprint, "big")
            if known.deleted:
                self.returned += 1
            elif known.revision != self.revision:  # a file written twice in one transaction counts once
                self.changed += 1
        self.written += 1
        self._digest += int.from_bytes(record.fingerprint, "big")
        cells, types, more = self.columns.encode(record.values)
        if len(cells) != self._width:
            self.flush_rows()
            self._prepare(len(cells))
        self._waiting.add(record.file)
        self._rows.append(
            [
                *cells,
                self.revision,
                record.fingerprint,
                record.source,
                record.source_mtime,
                known.added if known is not None else record.added or self._now,
                record.updated or self._now,
                0,
                None,
                None,
                types,
                more,
                record.derived,
            ]
        )
        if len(self._rows) == _ROWS_AT_ONCE:
            self.flush_rows()

    def move(self, file: str, source: str, source_mtime: int | None) -> None:
        """Note where the metadata file is now; clients learn of it, jobs do not run again."""
        self.moved += 1
        self.written += 1
        self._connection.execute(
            f"UPDATE files SET __source = ?, __source_mtime = ?, __rev = ? WHERE {self.unique_sql} = ?",
            (source, source_mtime, self.revision, file),
        )

    def rows_with_source(self, deleted_reason: str | None = None) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Unique value, metadata file and metadata of the alive files that have one, or of those deleted so."""
        names = ", ".join(self.columns.sql)
        where = "__deleted = 0" if deleted_reason is None else "__deleted_reason = ?"
        for row in self._connection.execute(
            f"SELECT {self.unique_sql}, __source, __types, __more, {names} FROM files "
            f"WHERE __source IS NOT NULL AND {where}",
            () if deleted_reason is None else (deleted_reason,),
        ):
            yield row[0], row[1], self.columns.decode(row[4:], row[2], row[3])

    def delete(self, files: Iterable[str], reason: str, *, at: str | None = None) -> int:
        """Mark files deleted, at that time unless it is now; returns how many were alive."""
        self.flush_rows()
        alive = [(file, known.fingerprint) for file, known in self.known(list(files)).items() if not known.deleted]
        rows = []
        for file, fingerprint in alive:
            gone = deleted_fingerprint(fingerprint)
            self._digest += int.from_bytes(gone, "big") - int.from_bytes(fingerprint, "big")
            rows.append((self.revision, gone, at or self._now, at or self._now, reason, file))
        self._connection.executemany(
            "UPDATE files SET __rev = ?, __fingerprint = ?, __deleted = 1, __meta_last_updated = ?, __deleted_at = ?, "
            f"__deleted_reason = ? WHERE {self.unique_sql} = ?",
            rows,
        )
        self.deleted += len(rows)
        self._by_hand += len(rows) if reason == BY_HAND else 0
        self.written += len(rows)
        return len(rows)

    @property
    def dirty(self) -> bool:
        """Whether something changed."""
        return bool(self.added or self.changed or self.deleted or self.returned or self.moved)

    def finish(self) -> Head:
        """Write the revision; with nothing changed the head stays as it was. The transaction is still to be committed.

        Raises:
            MassDeletionError: none of the files would be left, or more than half of those that were alive would be
                deleted, 20 at least. A few that somebody names may be the last ones.
        """
        dropped = self._dropped
        if not self.dirty and dropped is None:
            self._finished = self.head
            return self.head
        self.flush_rows()
        before = self.head.alive if dropped is None else dropped.alive
        alive = self.head.alive + self.added + self.returned - self.deleted
        if dropped is not None:
            (self.deleted,) = self._connection.execute(
                "SELECT count(*) FROM temp.dropped AS d "
                f"WHERE (d.file IS NULL OR d.file NOT IN (SELECT {self.unique_sql} FROM files WHERE __deleted = 0)) AND "
                "(d.source IS NULL OR d.source NOT IN (SELECT __source FROM files WHERE __source IS NOT NULL))"
            ).fetchone()
        left = 0 if self.found_none else alive
        mass = is_mass_deletion(self.deleted, before, left)
        named = self.deleted == self._by_hand and self.deleted < MASS_DELETION_MINIMUM
        if mass and not named and not self.allow_mass_delete:
            none = (
                " Nothing was found where they come from: is a disk not mounted, a folder moved?"
                if self.found_none
                else ""
            )
            raise MassDeletionError(
                f"{mass_deletion_text(self.deleted, before, alive)}{none} If they are really gone, repeat with "
                "allow_mass_delete=True (`--allow-mass-delete`)"
            )
        self.columns.flush()
        digest = digest_bytes(self._digest)
        self._connection.execute(
            "INSERT INTO revisions (rev, digest, at, added, changed, deleted, mass_delete) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                self.revision,
                digest,
                self._now,
                self.added,
                self.changed + self.returned,
                self.deleted,
                int(mass or (self.allow_mass_delete and self.deleted > 0)),
            ),
        )
        # One statement, for this is done with every file that a scraper inserts.
        self._connection.execute(
            "UPDATE info SET value = CASE name WHEN 'revision' THEN ? WHEN 'digest' THEN ? ELSE ? END "
            "WHERE name IN ('revision', 'digest', 'alive')",
            (self.revision, digest, alive),
        )
        self._finished = Head(self.head.id, self.revision, digest, self.head.unique, alive)
        return self._finished

    def _prepare(self, width: int) -> None:
        names = [*self.columns.sql, *(quote_identifier(name) for name in META_SYSTEM)]
        updates = ", ".join(f"{name} = excluded.{name}" for name in names if name != self.unique_sql)
        self._width = width
        self._sql = (
            f"INSERT INTO files ({', '.join(names)}) VALUES ({', '.join('?' * len(names))}) "
            f"ON CONFLICT ({self.unique_sql}) DO UPDATE SET {updates}"
        )

    def flush_rows(self) -> None:
        """Hand the rows put so far to SQLite, so that queries see them."""
        if self._rows:
            self._connection.executemany(self._sql, self._rows)
            self._rows.clear()
            self._waiting.clear()
