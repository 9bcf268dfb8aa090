"""What is proven of a metadata db before its rows are merged.

The digest proves that the fingerprints are those of the revision, not that the cells are those of the fingerprints. So
the fingerprint of every row that comes is computed from its cells: a flipped byte would stay for ever otherwise, because
all that is compared later are fingerprints. A first update looks at everything before a state db is made.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing

from mmmeta.catalog.columns import REMOTE, KeyColumns
from mmmeta.catalog.tables import META_SYSTEM
from mmmeta.errors import DigestMismatchError, MmmetaError
from mmmeta.fingerprints import deleted_fingerprint, digest_bytes, fingerprint
from mmmeta.metadata.database import MetadataDatabase
from mmmeta.metadata.db import Head
from mmmeta.sqlite.damage import Damage, why_not_whole_pages
from mmmeta.sqlite.statements import quote_identifier

_WIDTH = 1 + len(META_SYSTEM)
_FINGERPRINT, _DELETED, _TYPES, _MORE = (
    1 + META_SYSTEM.index(name) for name in ("__fingerprint", "__deleted", "__types", "__more")
)


def digest_mismatch(database: MetadataDatabase, head: Head) -> DigestMismatchError:
    """The error for a metadata db whose rows do not add up to its digest."""
    return DigestMismatchError(
        f"{database.shown} says digest {head.digest.hex()} at revision {head.revision}, its rows give another: "
        "it was copied while it was written, or is damaged. Nothing was changed; sync the metadir again"
    )


def prove_whole(connection: sqlite3.Connection, database: MetadataDatabase, head: Head) -> None:
    """Look at a whole metadata db, each page and each cell, which takes about twice as long as merging it.

    Raises:
        Damage: pages or cells are not what they were.
        DigestMismatchError: the fingerprints are not those of the revision.
    """
    reason = why_not_whole_pages(connection)
    if reason is not None:
        raise Damage(reason)
    columns = KeyColumns.load(connection, REMOTE, head.unique)
    prove_columns(connection, columns)
    total = prove_cells(columns, connection.execute(f"SELECT {cells_to_prove(columns)} FROM files AS r"))
    if digest_bytes(total) != head.digest:
        raise digest_mismatch(database, head)
    alive, odd = connection.execute(
        "SELECT count(*) FILTER (WHERE __deleted = 0), "
        f"max(coalesce(r.{columns.unique_sql}, '')) FILTER (WHERE NOT ({_as_written(columns)})) FROM files AS r",
        (head.revision,),
    ).fetchone()
    if odd is not None:
        raise _odd_row(odd, columns)
    if alive != head.alive:
        raise Damage(f"it has {alive} files that are not deleted, and says {head.alive}")


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
    texts = "__source", "__deleted_at", "__deleted_reason", "__types", "__more", "__derived"
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


def prove_cells(columns: KeyColumns, rows: sqlite3.Cursor) -> int:
    """Compare the cells of rows with their fingerprints, and return the sum of these.

    Raises:
        Damage: they differ.
    """
    total = 0
    # Closed at once, for a statement that an error keeps open would keep the database attached.
    with closing(rows):
        try:
            for row in rows:
                try:
                    found = fingerprint(columns.decode(row[_WIDTH:], row[_TYPES], row[_MORE]))
                except (Damage, MmmetaError) as error:
                    raise Damage(f"the file {row[0]!r:.80} cannot be read: {error}", columns.schema) from error
                if row[_DELETED]:
                    found = deleted_fingerprint(found)
                if row[_FINGERPRINT] != found:
                    raise Damage(
                        f"the cells of the file {row[0]!r:.80} are not what its fingerprint says", columns.schema
                    )
                total += int.from_bytes(found, "big")
        except sqlite3.OperationalError as error:
            if "decode" not in str(error):
                raise
            raise Damage("it holds text that is not UTF-8", columns.schema) from error
    return total
