"""The metadata db: its tables, its head (id, revision, digest), and the one writer that changes it.

Whatever changes ``files`` goes through ``MetadataWriter``, inside one transaction, which takes the next revision and
moves the digest by the fingerprints it added and took away. Rows are marked deleted, never removed.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from mmmeta.clock import from_text
from mmmeta.damage import Damage, checked_info
from mmmeta.database import Database, execute_in_chunks, quote_identifier
from mmmeta.errors import FormatError, LegacyMetadirError, MassDeletionError, MetadataDbError, MmmetaError
from mmmeta.filters import Condition
from mmmeta.query import Compiler
from mmmeta.schema import (
    CREATE_INFO,
    CREATE_REGISTRY,
    FORMAT_VERSION,
    META_SYSTEM,
    REMOTE,
    Columns,
    read_info,
    table_names,
    write_info,
)
from mmmeta.values import deleted_fingerprint, digest_bytes

MASS_DELETION_MINIMUM = 20
"""Fewer deletions than this are never refused, however large their share."""

_CREATE_REVISIONS = """
CREATE TABLE revisions (
    rev INTEGER PRIMARY KEY,
    digest BLOB NOT NULL,
    at TEXT NOT NULL,
    added INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    mass_delete INTEGER NOT NULL
)"""


@dataclass(frozen=True)
class Head:
    """What names the content of a metadata db exactly.

    Attributes:
        id: made once, with the metadata db.
        revision: 0 before the first change.
        digest: 16 bytes, the sum of all fingerprints.
        unique: the key that identifies a file.
        alive: how many files are not deleted.
    """

    id: str
    revision: int
    digest: bytes
    unique: str
    alive: int


_ROWS_AT_ONCE = 100
"""Few enough to stay in the processor's cache until SQLite takes them."""


class Known(NamedTuple):
    """What the metadata db holds of one file."""

    fingerprint: bytes
    source: str | None
    source_mtime: int | None
    deleted: int
    deleted_reason: str | None
    added: str
    revision: int


class Record(NamedTuple):
    """One file to be written; ``values`` holds the kept metadata, flattened, the unique key included."""

    file: str
    values: dict[str, Any]
    fingerprint: bytes
    source: str | None = None
    source_mtime: int | None = None


def read_head(connection: sqlite3.Connection, database: Database, schema: str = "main") -> Head:
    """Read and check the head of a metadata db.

    Raises:
        LegacyMetadirError: written by mmmeta 0.1-0.4.
        FormatError: written by a newer version.
        MetadataDbError: no metadata db, or one whose first generate did not finish.
    """
    names = {
        name
        for (name,) in connection.execute(
            f"SELECT name FROM {quote_identifier(schema)}.sqlite_master WHERE type = 'table'"
        )
    }
    if "info" not in names and {"registry", "revisions"} <= names:
        raise Damage("its table info is missing", schema)
    if "info" not in names:
        raise no_metadata_db(names, database)
    info = read_info(connection, schema)
    check_format(info, "metadata", database)
    checked_info(info, ("id", "revision", "digest", "unique", "alive"), schema)
    return Head(info["id"], info["revision"], info["digest"], info["unique"], info["alive"])


def no_metadata_db(names: set[str], database: Database) -> MmmetaError:
    """The error for a database without our tables."""
    if names:
        return LegacyMetadirError(
            f"{database.path} was written by mmmeta 0.1-0.4 or by another program (tables: {', '.join(sorted(names))}). "
            "This version leaves it untouched; generate a new metadir in another folder"
        )
    return MetadataDbError(
        f"metadata db {database.path} has no tables: the first generate did not finish; run it again at the server, "
        "or sync the metadir again"
    )


def check_format(info: dict[str, Any], role: str, database: Database) -> None:
    """Refuse what this version cannot read."""
    if info.get("role") != role:
        raise FormatError(f"{database.path} is not a {role} db of mmmeta")
    if not isinstance(info.get("format"), int) or info["format"] > FORMAT_VERSION:
        raise FormatError(
            f"{database.path} has format {info.get('format')!r}, this version reads up to {FORMAT_VERSION}: upgrade mmmeta"
        )


def revision_digest(connection: sqlite3.Connection, revision: int, schema: str = "main") -> bytes | None:
    """The digest that the metadata db had at a revision; None if its history does not contain it."""
    if revision == 0:
        return digest_bytes(0)
    row = connection.execute(
        f"SELECT digest FROM {quote_identifier(schema)}.revisions WHERE rev = ?",
        (revision,),
    ).fetchone()
    return None if row is None else row[0]


@dataclass(frozen=True)
class Dropped:
    """What a replaced metadata db was; the temporary table ``dropped`` holds its files.

    Attributes:
        replaced: its id, and those of the metadata dbs that it replaced itself.
        told: the last revision that was told to delete more than half of all files; 0 if none was.
    """

    revision: int
    alive: int
    replaced: tuple[str, ...]
    told: int


def drop_tables(connection: sqlite3.Connection, database: Database) -> Dropped | None:
    """Empty a metadata db for ``replace``; None where there was none. One written by another program is refused."""
    if not table_names(connection):
        return None
    head = read_head(connection, database)
    column = Columns.load(connection, REMOTE, head.unique).slots[head.unique].column
    connection.execute("DROP TABLE IF EXISTS temp.dropped")
    connection.execute(
        f"CREATE TEMP TABLE dropped AS SELECT {quote_identifier(column or head.unique)} AS file FROM files WHERE __deleted = 0"
    )
    (alive,) = connection.execute("SELECT count(*) FROM temp.dropped").fetchone()
    replaced, _ = replaced_by(connection)
    told = last_told(connection)
    for name in table_names(connection):
        connection.execute(f"DROP TABLE {quote_identifier(name)}")
    return Dropped(head.revision, alive, (*replaced, head.id), told)


def replaced_by(connection: sqlite3.Connection, schema: str = "main") -> tuple[tuple[str, ...], int]:
    """The ids of the metadata dbs that this one replaced, and the last revision of theirs that was told to delete many."""
    info = read_info(connection, schema)
    replaced, told = info.get("replaces"), info.get("replaces_told")
    return tuple(replaced.split()) if isinstance(replaced, str) else (), told if isinstance(told, int) else 0


def last_told(connection: sqlite3.Connection, schema: str = "main") -> int:
    """The last revision that was told to delete more than half of all files, here or in a replaced metadata db."""
    (told,) = connection.execute(
        f"SELECT max(rev) FROM {quote_identifier(schema)}.revisions WHERE mass_delete"
    ).fetchone()
    return max(told or 0, replaced_by(connection, schema)[1])


def create_tables(connection: sqlite3.Connection, unique: str, dropped: Dropped | None = None) -> None:
    """Make an empty metadata db with a new id; one that replaces another goes on counting at its revision."""
    revision = dropped.revision if dropped is not None else 0
    connection.execute(CREATE_INFO)
    connection.execute(CREATE_REGISTRY)
    connection.execute(_CREATE_REVISIONS)
    write_info(
        connection,
        role="metadata",
        format=FORMAT_VERSION,
        id=uuid.uuid4().hex,
        revision=revision,
        digest=digest_bytes(0),
        unique=unique,
        alive=0,
    )
    if dropped is not None:
        # Revisions go on counting, and so clients can follow a deletion that was told before they saw this one.
        write_info(connection, replaces=" ".join(dropped.replaced), replaces_told=dropped.told)
    create_files_table(connection, unique, META_SYSTEM)
    connection.execute("CREATE INDEX files_rev ON files (__rev)")


def create_files_table(connection: sqlite3.Connection, unique: str, system: Sequence[str]) -> None:
    """Make ``files`` with the unique key as text primary key and the system columns."""
    columns = Columns(REMOTE, unique, _connection=connection)
    columns._taken.update(system)
    slot = columns.add(unique)
    assert slot.column is not None
    system_sql = ", ".join(quote_identifier(name) for name in system)
    connection.execute(f"CREATE TABLE files ({quote_identifier(slot.column)} TEXT PRIMARY KEY NOT NULL, {system_sql})")
    columns.flush()


class MetadataWriter:
    """Changes the metadata db inside a transaction that the caller opened; ``finish`` takes the revision.

    Attributes:
        added, changed, deleted, returned, moved: counts so far; ``returned`` files were deleted before and are alive
            again, of ``moved`` ones only the place of the metadata file differs.
        written: how often a row was written.
        allow_mass_delete: whether ``finish`` may delete more than half of all files.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        database: Database,
        unique: str,
        now: str,
        dropped: Dropped | None = None,
    ) -> None:
        """``dropped`` is the metadata db that this one replaces; its files not written again count as deleted."""
        if not table_names(connection):
            create_tables(connection, unique, dropped)
        self._connection = connection
        self.head = read_head(connection, database)
        if self.head.unique != unique:
            raise MmmetaError(
                f"{database.path} identifies files by {self.head.unique!r}, config.yml by {unique!r}: "
                "run `mmmeta generate --replace` to rebuild the metadata db, or set metadata.unique back"
            )
        self.columns = Columns.load(connection, REMOTE, unique)
        self.revision = self.head.revision + 1
        self.added = self.changed = self.deleted = self.returned = self.moved = self.written = 0
        self.allow_mass_delete = False
        self._dropped = dropped
        self._now = now
        self._digest = int.from_bytes(self.head.digest, "big")
        self._rows: list[list[Any]] = []
        self._waiting: set[str] = set()
        self._width = 0
        self._sql = ""
        self.unique_sql = quote_identifier(self.columns.slots[unique].column or unique)

    def known(self, files: Sequence[str]) -> dict[str, Known]:
        """What is there of these files."""
        if not self.head.revision and not self.added:
            return {}
        if not self._waiting.isdisjoint(files):
            self.flush_rows()
        sql = (
            f"SELECT {self.unique_sql}, __fingerprint, __source, __source_mtime, __deleted, __deleted_reason, "
            f"__meta_added, __rev FROM files WHERE {self.unique_sql} IN ({{}})"
        )
        return {row[0]: Known(*row[1:]) for row in execute_in_chunks(self._connection, sql, files)}

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

    def matching(self, condition: Condition) -> list[tuple[str]]:
        """The unique values of the alive files that meet a condition."""
        self.flush_rows()
        compiler = Compiler([self.columns], META_SYSTEM, from_text(self._now))
        fragment = compiler.compile(condition)
        return self._connection.execute(
            f"SELECT files.{self.unique_sql} FROM files WHERE __deleted = 0 AND ({fragment.sql})", fragment.parameters
        ).fetchall()

    def put(self, record: Record, known: Known | None) -> None:
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
                known.added if known is not None else self._now,
                self._now,
                0,
                None,
                None,
                types,
                more,
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

    def delete(self, files: Iterable[str], reason: str) -> int:
        """Mark files deleted; returns how many were alive."""
        self.flush_rows()
        alive = [(file, known.fingerprint) for file, known in self.known(list(files)).items() if not known.deleted]
        rows = []
        for file, fingerprint in alive:
            gone = deleted_fingerprint(fingerprint)
            self._digest += int.from_bytes(gone, "big") - int.from_bytes(fingerprint, "big")
            rows.append((self.revision, gone, self._now, self._now, reason, file))
        self._connection.executemany(
            "UPDATE files SET __rev = ?, __fingerprint = ?, __deleted = 1, __meta_last_updated = ?, __deleted_at = ?, "
            f"__deleted_reason = ? WHERE {self.unique_sql} = ?",
            rows,
        )
        self.deleted += len(rows)
        self.written += len(rows)
        return len(rows)

    @property
    def dirty(self) -> bool:
        """Whether something changed."""
        return bool(self.added or self.changed or self.deleted or self.returned or self.moved)

    def finish(self) -> Head:
        """Write the revision; with nothing changed the head stays as it was.

        Raises:
            MassDeletionError: more than half of the files that were alive would be deleted, 20 at least.
        """
        dropped = self._dropped
        if not self.dirty and dropped is None:
            return self.head
        self.flush_rows()
        before = self.head.alive if dropped is None else dropped.alive
        alive = self.head.alive + self.added + self.returned - self.deleted
        if dropped is not None:
            (self.deleted,) = self._connection.execute(
                "SELECT count(*) FROM temp.dropped AS d "
                f"WHERE d.file NOT IN (SELECT {self.unique_sql} FROM files WHERE __deleted = 0)"
            ).fetchone()
        mass = False
        if self.deleted >= MASS_DELETION_MINIMUM:
            mass = self.deleted * 2 > before
            if mass and not self.allow_mass_delete:
                raise MassDeletionError(
                    f"{self.deleted} of {before} files would be deleted; nothing was changed. If the metadata files are "
                    "really gone, repeat with allow_mass_delete=True (`--allow-mass-delete`)"
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
        write_info(self._connection, revision=self.revision, digest=digest, alive=alive)
        return Head(self.head.id, self.revision, digest, self.head.unique, alive)

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
