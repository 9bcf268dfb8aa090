"""What is proven of a metadata db before its rows are merged.

The digest proves that the fingerprints are those of the revision, not that the cells are those of the fingerprints. For
rows that come as changes that is proven, too. Computing all fingerprints would make a first update several times as long
(``mmmeta check`` does it); there the pages are looked at, the text, and a sample of the fingerprints, before a state db
is made.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing

from mmmeta.catalog.columns import REMOTE, KeyColumns
from mmmeta.catalog.tables import META_SYSTEM
from mmmeta.chunks import in_chunks
from mmmeta.errors import DigestMismatchError, MmmetaError
from mmmeta.fingerprints import deleted_fingerprint, digest_bytes, digest_sum, fingerprint
from mmmeta.metadata.database import MetadataDatabase
from mmmeta.metadata.db import Head
from mmmeta.sqlite.damage import Damage, why_not_whole_pages
from mmmeta.sqlite.statements import quote_identifier

_SAMPLE = 100
"""Rows whose fingerprints are computed before a first merge: what damages the registry shows in nearly every row."""

_ARGUMENTS = 100
"""KeyColumns looked at in one call; SQLite's functions take 127 arguments at most."""

_ROWS_AT_ONCE = 2_000

_WIDTH = 1 + len(META_SYSTEM)
_FINGERPRINT, _DELETED, _TYPES, _MORE = (
    1 + META_SYSTEM.index(name) for name in ("__fingerprint", "__deleted", "__types", "__more")
)


def digest_mismatch(database: MetadataDatabase, head: Head) -> DigestMismatchError:
    """The error for a metadata db whose rows do not add up to its digest."""
    return DigestMismatchError(
        f"{database.path} says digest {head.digest.hex()} at revision {head.revision}, its rows give another: "
        "it was copied while it was written, or is damaged. Nothing was changed; sync the metadir again"
    )


def prove_whole(connection: sqlite3.Connection, database: MetadataDatabase, head: Head) -> None:
    """Look at a whole metadata db, which costs about half of merging it.

    Raises:
        Damage: pages, text, or cells of the sample are not what they were.
        DigestMismatchError: the fingerprints are not those of the revision.
    """
    reason = why_not_whole_pages(connection)
    if reason is not None:
        raise Damage(reason)
    columns = KeyColumns.load(connection, REMOTE, head.unique)
    prove_columns(connection, columns)
    _prove_text(connection, columns, [*(name for name in META_SYSTEM if name != "__fingerprint"), *columns.sql])
    total = 0
    cursor = connection.execute("SELECT __fingerprint FROM files")
    while rows := cursor.fetchmany(_ROWS_AT_ONCE):
        try:
            total += digest_sum(row[0] for row in rows)
        except TypeError:
            raise digest_mismatch(database, head) from None
    if digest_bytes(total) != head.digest:
        raise digest_mismatch(database, head)
    files, alive, odd = connection.execute(
        "SELECT count(*), count(*) FILTER (WHERE __deleted = 0), "
        f"max(coalesce(r.{columns.unique_sql}, '')) FILTER (WHERE NOT ({_as_written(columns)})) FROM files AS r",
        (head.revision,),
    ).fetchone()
    if odd is not None:
        raise _odd_row(odd, columns)
    if alive != head.alive:
        raise Damage(f"it has {alive} files that are not deleted, and says {head.alive}")
    every = max(1, files // _SAMPLE)
    prove_cells(
        columns, connection.execute(f"SELECT {cells_to_prove(columns)} FROM files AS r WHERE rowid % {every} = 0")
    )


def prove_columns(connection: sqlite3.Connection, columns: KeyColumns) -> None:
    """The table has the columns that the registry tells of.

    Raises:
        Damage: one is missing.
    """
    rows = connection.execute("SELECT name FROM pragma_table_info('files', ?)", (columns.schema,))
    there = {name for (name,) in rows}
    wanted = [*META_SYSTEM, *(slot.column for slot in columns.ordered)]
    if not {slot.column for slot in columns.ordered}.isdisjoint(META_SYSTEM):
        raise Damage("its registry has a key in a column of mmmeta's own", columns.schema)
    missing = next((name for name in wanted if name not in there), None)
    if missing is not None:
        raise Damage(f"its table files has no column {missing!r:.60}", columns.schema)


def prove_system_cells(connection: sqlite3.Connection, columns: KeyColumns, rows: str, revision: int) -> None:
    """What mmmeta's own columns say of some rows is what it writes there: a file is deleted or not, revisions are no
    larger than the head's.

    Args:
        rows: SQL over ``files AS r`` that chooses them.

    Raises:
        Damage: it is something else.
    """
    odd = connection.execute(
        f"SELECT r.{columns.unique_sql} FROM {quote_identifier(columns.schema)}.files AS r "
        f"WHERE NOT ({_as_written(columns)}) AND {rows} LIMIT 1",
        (revision,),
    ).fetchall()
    if odd:
        raise _odd_row(odd[0][0], columns)


def _as_written(columns: KeyColumns) -> str:
    """SQL over ``files AS r`` with one parameter, the head's revision: true for what ``MetadataWriter`` writes."""
    texts = "__source", "__deleted_at", "__deleted_reason", "__types", "__more"
    return " AND ".join(
        [
            f"typeof(r.{columns.unique_sql}) = 'text'",
            f"r.{columns.unique_sql} != ''",
            "typeof(r.__rev) = 'integer'",
            "r.__rev BETWEEN 1 AND ?1",
            "typeof(r.__deleted) = 'integer'",
            "r.__deleted IN (0, 1)",
            "typeof(r.__source_mtime) IN ('integer', 'null')",
            "typeof(r.__meta_added) = 'text'",
            "typeof(r.__meta_last_updated) = 'text'",
            *(f"typeof(r.{name}) IN ('text', 'null')" for name in texts),
        ]
    )


def _odd_row(file: object, columns: KeyColumns) -> Damage:
    return Damage(f"its row of the file {file!r:.80} has odd values in mmmeta's own columns", columns.schema)


def cells_to_prove(columns: KeyColumns) -> str:
    """What a statement over ``files AS r`` selects for ``prove_cells``: all, for text shows what it is when fetched."""
    names = [columns.unique_sql, *META_SYSTEM, *columns.sql]
    return ", ".join(f"r.{name}" for name in names)


def prove_cells(columns: KeyColumns, rows: sqlite3.Cursor) -> None:
    """Compare the cells of rows with their fingerprints.

    Raises:
        Damage: they differ.
    """
    # Closed at once, for a statement that an error keeps open would keep the database attached.
    with closing(rows):
        for row in rows:
            try:
                found = fingerprint(columns.decode(row[_WIDTH:], row[_TYPES], row[_MORE]))
            except (Damage, MmmetaError) as error:
                raise Damage(f"the file {row[0]!r:.80} cannot be read: {error}", columns.schema) from error
            if row[_FINGERPRINT] != (deleted_fingerprint(found) if row[_DELETED] else found):
                raise Damage(f"the cells of the file {row[0]!r:.80} are not what its fingerprint says", columns.schema)


def _named(connection: sqlite3.Connection, columns: KeyColumns, names: Sequence[str]) -> str:
    """The first file that has bytes in one of these columns, as the end of a sentence; nothing where it is bad text."""
    of_bytes = " OR ".join(f"typeof({name}) = 'blob'" for name in names)
    rows = connection.execute(
        f"SELECT CAST({columns.unique_sql} AS TEXT) FROM files WHERE typeof({columns.unique_sql}) = 'text' "
        f"AND ({of_bytes}) LIMIT 1"
    ).fetchall()
    return f": the file {rows[0][0]!r:.80}" if rows else ""


def _prove_text(connection: sqlite3.Connection, columns: KeyColumns, names: list[str]) -> None:
    """All text is UTF-8: handing it to Python shows that it is, fastest as one text a row."""
    connection.create_function("mmmeta_is_text", 1, lambda text: 0, deterministic=True)
    for chunk in in_chunks(names, _ARGUMENTS):
        cells = ", ".join(chunk)
        try:
            connection.execute(f"SELECT sum(mmmeta_is_text(json_array({cells}))) FROM files").fetchone()
        except sqlite3.OperationalError as error:
            if not any(words in str(error) for words in ("user-defined function", "JSON cannot hold")):
                raise
            raise Damage(f"it holds bytes, or text that is not UTF-8{_named(connection, columns, chunk)}") from error
