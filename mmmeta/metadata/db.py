"""The metadata db: its tables, and its head (id, revision, digest)."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mmmeta.catalog.catalog import Catalog
from mmmeta.catalog.columns import REMOTE, KeyColumns
from mmmeta.catalog.tables import (
    CREATE_INFO,
    CREATE_REGISTRY,
    META_SYSTEM,
    check_format,
    checked_info,
    create_files_table,
    read_info,
    table_names,
    write_info,
)
from mmmeta.clock import from_text
from mmmeta.errors import FormatError, MetadataDbError, MmmetaError
from mmmeta.fingerprints import digest_bytes
from mmmeta.metadata.database import MetadataDatabase
from mmmeta.metadata.schema import CREATE_REVISIONS, prove_schema
from mmmeta.sqlite.damage import Damage
from mmmeta.sqlite.statements import quote_identifier
from mmmeta.writing import has_our_tables, legacy_error, legacy_tables_text

METADATA_FORMAT = 1
"""Of the metadata db; another one is refused."""

MASS_DELETION_MINIMUM = 20
"""Fewer deletions than this are refused only where they leave nothing."""


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


def read_head(connection: sqlite3.Connection, database: MetadataDatabase, schema: str = "main") -> Head:
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
    if not has_our_tables(names):
        raise no_metadata_db(names, database)
    if "info" not in names:
        raise Damage("its table info is missing", schema)
    prove_schema(connection, schema, only=("info",))
    info = read_info(connection, schema)
    check_format(info, "metadata", database.path, METADATA_FORMAT, "mmmeta generate")
    prove_schema(connection, schema)
    _refuse_development(connection, database, schema)
    checked_info(info, ("id", "revision", "digest", "unique", "alive"), schema)
    return Head(info["id"], info["revision"], info["digest"], info["unique"], info["alive"])


def _refuse_development(connection: sqlite3.Connection, database: MetadataDatabase, schema: str) -> None:
    """Development versions wrote a table without the column that says what was derived."""
    (has_it,) = connection.execute(
        f"SELECT instr(sql, '\"__derived\"') FROM {quote_identifier(schema)}.sqlite_master WHERE name = 'files'"
    ).fetchone()
    if not has_it:
        raise FormatError(
            f"{database.path} is from before the first release: move it away and run `mmmeta generate` at the server, which "
            "makes it anew"
        )


def head_of(database: MetadataDatabase) -> Head:
    """The head of a metadata db, read by itself; raises as ``read_head`` does."""
    with database.reading() as connection:
        return read_head(connection, database)


def is_mass_deletion(deleted: int, before: int, alive: int) -> bool:
    """Whether deletions are refused unless they are meant: nothing is left, or more than half of all is gone.

    Args:
        deleted: how many of the files that were alive ``before``.
        alive: how many are alive after it, new ones included.
    """
    return deleted > 0 and (not alive or (deleted >= MASS_DELETION_MINIMUM and deleted * 2 > before))


def mass_deletion_text(deleted: int, before: int, alive: int) -> str:
    """What is said of deletions that are refused; what to do follows."""
    none_left = "" if alive else ", and none would be left"
    return f"{deleted} of {before} files would be deleted{none_left}; nothing was changed."


class _NothingYet(MetadataDatabase):
    """Stands for a metadata db that nobody has written yet: read in memory, empty, and nothing is created on disk."""

    def __init__(self, path: Path, unique: str) -> None:
        super().__init__(path, read_only=True)
        self._unique = unique

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
            create_tables(connection, self._unique)
            yield connection


class _EmptyCatalog(Catalog):
    """The files of a metadata db that nobody has written yet. Any key may come, so none is mistyped."""

    def knows(self, key: str) -> bool:
        return True


def empty_catalog(path: Path, unique: str, now: datetime) -> Catalog:
    """No files: what is found where the first one is still to be written."""
    database = _NothingYet(path, unique)
    with database.reading() as connection:
        remote = KeyColumns.load(connection, REMOTE, unique)
    return _EmptyCatalog(database, unique=unique, alive=0, owners=[remote], system=META_SYSTEM, now=now)


def metadata_catalog(database: MetadataDatabase, now: datetime) -> Catalog:
    """The files of a metadata db.

    Args:
        now: the moment that ``{ago: …}`` counts from, aware UTC.

    Raises:
        MmmetaError: it is missing, damaged, or of another format.
    """
    with database.reading() as connection:
        head = read_head(connection, database)
        remote = KeyColumns.load(connection, REMOTE, head.unique)
    return Catalog(database, unique=head.unique, alive=head.alive, owners=[remote], system=META_SYSTEM, now=now)


def no_metadata_db(names: set[str], database: MetadataDatabase) -> MmmetaError:
    """The error for a database without our tables."""
    if names:
        return legacy_error(legacy_tables_text(database.path, names))
    return MetadataDbError(
        f"metadata db {database.path} has no tables: the first generate did not finish; run it again at the server, "
        "or sync the metadir again"
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


def revision_moment(connection: sqlite3.Connection, revision: int) -> datetime | None:
    """When the first of the revisions from this one on was published, by the server's clock; None where nobody knows."""
    row = connection.execute("SELECT at FROM revisions WHERE rev >= ? ORDER BY rev LIMIT 1", (revision,)).fetchone()
    with suppress(ValueError, TypeError, OverflowError):  # what a remote has written may be anything
        return None if row is None else from_text(row[0])
    return None


@dataclass(frozen=True)
class Dropped:
    """What a replaced metadata db was; the temporary table ``dropped`` holds its files.

    Attributes:
        replaced: its id, and those of the metadata dbs that it replaced itself.
        told: the last revision that was told to delete more than half of all files, or all; 0 if none was.
    """

    revision: int
    alive: int
    replaced: tuple[str, ...]
    told: int


def drop_tables(connection: sqlite3.Connection, database: MetadataDatabase, unique: str) -> Dropped | None:
    """Empty a metadata db for ``replace``; None where there was none. One written by another program is refused.

    Args:
        unique: the key that identifies a file from now on. Where it is another than before, a file is known again by its
            value of that key, or by its metadata file.
    """
    if not table_names(connection):
        return None
    head = read_head(connection, database)
    columns = KeyColumns.load(connection, REMOTE, head.unique)
    connection.execute("DROP TABLE IF EXISTS temp.dropped")
    if unique == head.unique:
        values = f"{columns.unique_sql} AS file, NULL AS source"
    else:
        slot = columns.slots.get(unique)
        value = "NULL" if slot is None or slot.column is None else f"CAST({quote_identifier(slot.column)} AS TEXT)"
        values = f"{value} AS file, __source AS source"
    connection.execute(f"CREATE TEMP TABLE dropped AS SELECT {values} FROM files WHERE __deleted = 0")
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
    connection.execute(CREATE_REVISIONS)
    write_info(
        connection,
        role="metadata",
        format=METADATA_FORMAT,
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
