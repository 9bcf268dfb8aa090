"""Rows of the metadata db into the state db, and the proof by the digest that both hold the same versions.

Where the two registries give cells the same meaning, SQL copies them unread; otherwise row by row. Only the remote's
columns are written.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from mmmeta.catalog.columns import REMOTE, KeyColumns
from mmmeta.catalog.tables import META_SYSTEM
from mmmeta.fingerprints import DIGEST_MODULUS, digest_bytes, digest_sum
from mmmeta.metadata.db import Head
from mmmeta.metadata.proof import cells_to_prove, prove_cells, prove_columns, prove_system_cells
from mmmeta.sqlite.damage import Damage
from mmmeta.sqlite.statements import quote_identifier
from mmmeta.state.db import Merged, next_state_revision

VANISHED = "vanished at the remote"

_ROWS_AT_ONCE = 2_000


@dataclass(frozen=True)
class Counts:
    """How many files a merge added, changed, deleted and brought back."""

    added: int = 0
    changed: int = 0
    deleted: int = 0
    returned: int = 0


class Mismatch(Exception):
    """The sums of fingerprints differ; what was written is to be rolled back."""


class Merger:
    """Brings rows of the attached metadata db (schema ``remote``) into the state db, inside the caller's transaction."""

    def __init__(self, connection: sqlite3.Connection, merged: Merged, head: Head, now: str, *, replace: bool) -> None:
        self._connection = connection
        self._merged = merged
        self._head = head
        self._now = now
        self._replace = replace
        self._theirs = KeyColumns.load(connection, REMOTE, head.unique, "remote")
        prove_columns(connection, self._theirs)
        self._ours = KeyColumns.load(connection, REMOTE, head.unique)
        self._copyable = self._adopt_registry()
        self._their_unique = self._theirs.unique_sql
        self._our_unique = self._ours.unique_sql

    def merge_changes(self) -> Counts:
        """Merge the rows above the last merged revision."""
        self._note_changed("r.__rev > ?", (self._merged.revision,))
        return self._merge(int.from_bytes(self._merged.digest, "big"))

    def merge_everything(self) -> Counts:
        """Merge all rows that differ, and mark deleted what the metadata db does not have."""
        (present,) = self._connection.execute("SELECT EXISTS (SELECT 1 FROM main.files)").fetchone()
        if not present and not self._merged.metadata_id:
            return self._merge_first()
        differs = "1" if self._replace else "l.__fingerprint IS NOT r.__fingerprint OR l.__source IS NOT r.__source"
        self._note_changed(differs, ())
        vanished = self._mark_vanished()
        counts = self._merge(None)
        return Counts(counts.added, counts.changed, counts.deleted + vanished, counts.returned)

    def remote_adds_up(self) -> bool:
        """Whether the metadata db is what its revision says, so that a mismatch is the state db's fault; reads all of it.

        Raises:
            Damage: its pages contradict each other, or its cells are not what they were.
        """
        (found,) = self._connection.execute("PRAGMA remote.integrity_check(1)").fetchone()
        if found != "ok":
            raise Damage(str(found), "remote")
        prove_cells(
            self._theirs, self._connection.execute(f"SELECT {cells_to_prove(self._theirs)} FROM remote.files AS r")
        )
        try:
            return digest_bytes(self._sum("SELECT __fingerprint FROM remote.files")) == self._head.digest
        except Mismatch:
            return False

    def _adopt_registry(self) -> bool:
        """Make room for the remote's keys; True if cells mean the same on both sides, so that SQL may copy them.

        The numbers are given here, in the order of the remote's, so that with an ordinary remote they are the same.
        """
        copyable = True
        for theirs in self._theirs.slots.values():
            ours = self._ours.slots.get(theirs.key)
            if ours is None:
                ours = self._ours.add(theirs.key, usual=theirs.usual)
            if ours.usual is None and theirs.usual is not None:
                ours.usual = theirs.usual
            for kind in theirs.kinds:
                if kind not in ours.kinds:
                    self._ours.learn(ours, kind)
            copyable = copyable and ours.same_mapping(theirs)
        return copyable

    def _note_changed(self, condition: str, parameters: tuple[object, ...]) -> None:
        """Fill the temporary table ``changed`` with the rows to be merged and what is here of them now.

        ``number`` is the row's there, by which it is found again at once; ``now`` and ``deleted`` are the remote's.
        """
        self._connection.execute("DROP TABLE IF EXISTS temp.changed")
        self._connection.execute(
            "CREATE TEMP TABLE changed (file TEXT PRIMARY KEY, number INTEGER, now BLOB, deleted, was BLOB, was_deleted, known)"
        )
        try:
            self._connection.execute(
                "INSERT INTO temp.changed "
                f"SELECT r.{self._their_unique}, r.rowid, r.__fingerprint, r.__deleted, "
                f"l.__fingerprint, l.__deleted, l.{self._our_unique} IS NOT NULL "
                f"FROM remote.files AS r LEFT JOIN main.files AS l ON l.{self._our_unique} = r.{self._their_unique} "
                f"WHERE {condition}",
                parameters,
            )
        except sqlite3.IntegrityError as error:
            raise Damage("it has two rows for one file, or one without a name", "remote") from error
        # A row without a fingerprint would escape the digest.
        (unnamed,) = self._connection.execute(
            "SELECT count(*) FROM temp.changed WHERE typeof(now) != 'blob' OR length(now) != 16"
        ).fetchone()
        if unnamed:
            raise Mismatch

    def _merge(self, digest_before: int | None) -> Counts:
        """Merge the rows of ``changed``, and prove by the digest that both sides hold the same versions."""
        self._prove_changed_cells()
        state_revision = next_state_revision(self._connection)
        counts = self._count()
        if self._copyable:
            self._copy(state_revision, "WHERE r.rowid IN (SELECT number FROM temp.changed)", upsert=True)
        else:
            self._translate(state_revision)
        self._ours.flush()
        if digest_before is None:
            digest = self._sum("SELECT __fingerprint FROM main.files WHERE __fingerprint IS NOT NULL")
        else:
            removed = self._sum("SELECT was FROM temp.changed WHERE was IS NOT NULL")
            added = self._sum(
                # CROSS: SQLite then takes the changed rows first, and not all files.
                f"SELECT l.__fingerprint FROM temp.changed AS c CROSS JOIN main.files AS l ON l.{self._our_unique} = c.file"
            )
            digest = (digest_before + added - removed) % DIGEST_MODULUS
        self._prove(digest)
        return counts

    def _prove_changed_cells(self) -> None:
        """Damage in a cell would be merged, and stay, because the fingerprint says that all is well."""
        rows = "r.rowid IN (SELECT number FROM temp.changed)"
        prove_system_cells(self._connection, self._theirs, rows, self._head.revision)
        prove_cells(
            self._theirs,
            self._connection.execute(
                f"SELECT {cells_to_prove(self._theirs)} FROM remote.files AS r "
                "WHERE r.rowid IN (SELECT number FROM temp.changed)"
            ),
        )

    def _merge_first(self) -> Counts:
        """Merge everything into an empty table: no comparing, one INSERT … SELECT, for ``prove_whole`` has looked at it."""
        state_revision = next_state_revision(self._connection)
        if self._copyable:
            self._copy(state_revision, "", upsert=False)
        else:
            self._note_changed("1", ())
            self._translate(state_revision)
        self._ours.flush()
        self._prove(self._sum("SELECT __fingerprint FROM main.files"))
        return Counts(added=self._head.alive)

    def _count(self) -> Counts:
        row = self._connection.execute(
            "SELECT count(*) FILTER (WHERE NOT known AND NOT deleted), "
            "count(*) FILTER (WHERE known AND NOT was_deleted AND NOT deleted AND was IS NOT now), "
            "count(*) FILTER (WHERE known AND NOT was_deleted AND deleted), "
            "count(*) FILTER (WHERE known AND was_deleted AND NOT deleted) FROM temp.changed"
        ).fetchone()
        return Counts(*row)

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
            f"{where} ORDER BY r.rowid{conflict}",
            (self._now, state_revision),
        )

    def _translate(self, state_revision: int) -> None:
        """Merge row by row: the two registries give cells different meanings."""
        their_names = ", ".join(f"r.{name}" for name in self._theirs.sql)
        system = ", ".join(f"r.{name}" for name in META_SYSTEM)
        cursor = self._connection.execute(
            f"SELECT r.{self._their_unique}, {system}, {their_names} "
            "FROM remote.files AS r WHERE r.rowid IN (SELECT number FROM temp.changed) ORDER BY r.rowid"
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
            try:
                total += digest_sum(row[0] for row in rows)
            except TypeError:
                raise Mismatch from None
        return total % DIGEST_MODULUS

    def _prove(self, digest: int) -> None:
        if digest_bytes(digest) != self._head.digest:
            raise Mismatch
