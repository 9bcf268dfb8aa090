"""Reading files from either database: the columns, the statement, and rows in an order, a chunk at a time.

No statement stays open while the caller works: the row numbers of what matches are fetched first, then the rows in
chunks. So a loop over files neither blocks the server's commits nor keeps the state db's log from being cut, however
long it takes; a file that stopped matching before its turn is left out.
"""

from __future__ import annotations

import json
import random
import sqlite3
from array import array
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple

from mmmeta.catalog.columns import KeyColumns
from mmmeta.catalog.compiler import Compiler
from mmmeta.catalog.expressions import FALSE, all_of
from mmmeta.chunks import in_chunks
from mmmeta.filters import All, Compare, Condition, Not, condition_keys
from mmmeta.sqlite.damage import STUMBLES, Damage
from mmmeta.sqlite.database import Database
from mmmeta.sqlite.statements import encodable, execute_in_chunks
from mmmeta.values import TYPE_NAMES, from_cell

CHUNK = 100
"""Rows fetched at once: the first one comes soon, and all stay in the processor's cache until they are used, which makes
reading a quarter faster than with a thousand."""


NAMED_AT_ONCE = 10_000
"""Unique values handed to one statement; it takes a millisecond to write them down as JSON."""


class FileRow(NamedTuple):
    """One file as the database has it.

    Attributes:
        unique_value: the text that identifies it.
        remote: what the remote sent; ``local``: what the client set.
        system: mmmeta's own columns by name.
    """

    unique_value: str
    remote: dict[str, Any]
    local: dict[str, Any]
    system: dict[str, Any]


class Catalog:
    """The files of one database, as of the moment its head and columns were read.

    Args:
        database: read from, a short time for each chunk.
        unique: the key that identifies a file.
        alive: how many files are not deleted.
        owners: the remote's columns and, where a client has values of its own, the client's.
        system: names of the system columns of ``files``, in order.
        now: the moment that ``{ago: …}`` counts from, aware UTC.
    """

    def __init__(
        self,
        database: Database,
        *,
        unique: str,
        alive: int,
        owners: Sequence[KeyColumns],
        system: Sequence[str],
        now: datetime,
    ) -> None:
        self._database = database
        self.unique = unique
        self.alive = alive
        self.owners = owners
        self.system = system
        self.compiler: Compiler = Compiler(owners, system, now)
        self.unique_sql: str = f"files.{owners[0].unique_sql}"

    @property
    def keys(self) -> list[str]:
        """All keys of the remote, then those that only the client has."""
        return list(dict.fromkeys(key for columns in self.owners for key in columns.slots))

    @property
    def key_types(self) -> dict[str, str]:
        """Key → the types its values have had, the usual one first: ``text``, ``integer``, ``number``, ``boolean``,
        ``json``; a null that came with them is left out, and ``null`` is what has no other."""
        found: dict[str, dict[str, None]] = {}
        for columns in self.owners:
            for slot in columns.slots.values():
                kinds = [kind for kind in (slot.usual or "") + slot.kinds if kind != "n"]
                found.setdefault(slot.key, {}).update(dict.fromkeys(TYPE_NAMES[kind] for kind in kinds))
        return {key: " | ".join(types) or "null" for key, types in found.items()}

    def knows(self, key: str) -> bool:
        """Whether any file may have this key."""
        return key in self.system or any(key in columns.slots for columns in self.owners)

    def unknown_keys(self, condition: Condition) -> list[str]:
        """Keys of a condition that no file has."""
        return sorted(key for key in condition_keys(condition) if not self.knows(key))

    def rows(
        self,
        condition: Condition,
        *,
        deleted: bool | None = False,
        order_by: Sequence[str] = (),
        limit: int | None = None,
        offset: int = 0,
    ) -> Iterator[FileRow]:
        """The matching files; in the order they were first published where ``order_by`` does not say otherwise."""
        where, parameters = self._where(condition, deleted)
        chosen = limit is None and condition != All(())
        sql = (
            f"SELECT files.rowid FROM files WHERE {where} ORDER BY {self._order(order_by, chosen=chosen)} "
            f"LIMIT {-1 if limit is None else int(limit)} OFFSET {int(offset)}"
        )
        with self._database.reading() as connection:
            numbers = array("q", (number for (number,) in connection.execute(sql, parameters)))
        for chunk in in_chunks(numbers, CHUNK):
            yield from self._fetch(chunk, where, parameters)

    def by_unique(self, values: Sequence[str]) -> dict[str, FileRow]:
        """These files, deleted ones included."""
        with self._database.reading() as connection:
            return {row.unique_value: row for row in self.read(connection, values)}

    def read(self, connection: sqlite3.Connection, values: Sequence[str]) -> list[FileRow]:
        """The same by a connection of the caller's, which may be in a transaction."""
        sql = f"{self._select} WHERE {self.unique_sql} IN ({{}})"
        return [self._row(raw) for raw in execute_in_chunks(connection, sql, encodable(values))]

    def known_names(self, values: Sequence[str]) -> set[str]:
        """Those of these unique values that a file has, deleted ones included."""
        sql = f"SELECT {self.unique_sql} FROM files WHERE {self.unique_sql} IN ({{}})"
        with self._database.reading() as connection:
            return {str(value) for (value,) in execute_in_chunks(connection, sql, encodable(values))}

    def among(self, names: Sequence[str], condition: Condition, *, deleted: bool | None = False) -> list[str]:
        """Those of these unique values whose files a condition means, in the order given."""
        where, parameters = self._where(condition, deleted)
        return [
            str(name) for (name,) in self._of_named(self.unique_sql, names, f"WHERE {where} ORDER BY key", parameters)
        ]

    def total(self, keys: Sequence[str], names: Sequence[str]) -> int | None:
        """The sum of the first of these keys that a file has, as integers, over the files of these unique values; None
        where none has any."""
        known = [f"CAST({self.compiler.value(key)} AS INTEGER)" for key in keys if self.knows(key)]
        if not known:
            return None
        rows = self._of_named(f"sum(coalesce({', '.join([*known, 'NULL'])}))", names)
        sums = [total for (total,) in rows if total is not None]
        return sum(sums) if sums else None

    def tally(self, key: str, names: Sequence[str]) -> list[tuple[Any, int]]:
        """Each value of a key among the files of these unique values, with how many of them have it; what is absent
        comes as None. In pairs, because a value may be a list."""
        cell, kind = self.compiler.value(key), self.compiler.kind(key)
        counts: dict[tuple[Any, str | None], int] = {}
        for value, letter, count in self._of_named(f"{cell}, {kind}, count(*)", names, "GROUP BY 1, 2"):
            counts[value, letter] = counts.get((value, letter), 0) + count
        return [(cell_value(value, letter), count) for (value, letter), count in counts.items()]

    def _of_named(
        self, columns: str, names: Sequence[str], rest: str = "", parameters: Sequence[Any] = ()
    ) -> Iterator[tuple[Any, ...]]:
        """Rows over the files of these unique values, a stretch of them at a time; ``key`` is the place in the stretch."""
        # CROSS: the names come first, and each finds its file by the primary key.
        # SQLite's JSON ends a text at a NUL.
        for odd, group in groupby(names, lambda name: "\0" in name):
            named = "(SELECT 0 AS key, ? AS value)" if odd else "json_each(?)"
            sql = f"SELECT {columns} FROM {named} AS named CROSS JOIN files ON {self.unique_sql} = named.value {rest}"
            for stretch in in_chunks(group, 1 if odd else NAMED_AT_ONCE):
                with self._database.reading() as connection:
                    given = stretch[0] if odd else json.dumps(stretch)
                    yield from connection.execute(sql, (given, *parameters)).fetchall()

    def names_from(self, beginning: str, limit: int) -> list[str]:
        """The first unique values from this text on, in their order, deleted files included."""
        sql = f"SELECT {self.unique_sql} FROM files WHERE {self.unique_sql} >= ? ORDER BY 1 LIMIT ?"
        with self._database.reading() as connection:
            return [str(name) for (name,) in connection.execute(sql, (beginning, limit))]

    def random_names(self, count: int) -> list[str]:
        """Unique values of so many files picked at random, the same perhaps twice: a step down an index each."""
        with self._database.reading() as connection:
            (last,) = connection.execute("SELECT max(rowid) FROM files").fetchone()
            sql = f"SELECT {self.unique_sql} FROM files WHERE rowid >= ? ORDER BY rowid LIMIT 1"
            return [
                str(connection.execute(sql, (random.randint(1, last),)).fetchone()[0])
                for _ in range(count if last else 0)
            ]

    def names_beyond(self, size: int, condition: Condition) -> list[str]:
        """The unique values with a NUL in them, or of more bytes than this, of files that a condition means, sorted."""
        where, parameters = self._where(condition, False)
        raw = f"CAST({self.unique_sql} AS BLOB)"
        sql = f"SELECT {self.unique_sql} FROM files WHERE (length({raw}) > ? OR instr({raw}, x'00')) AND {where} ORDER BY 1"
        with self._database.reading() as connection:
            return [str(name) for (name,) in connection.execute(sql, (size, *parameters))]

    def count(self, condition: Condition, *, deleted: bool | None = False) -> int:
        """How many files match."""
        if condition == All(()) and deleted is False:
            return self.alive
        where, parameters = self._where(condition, deleted)
        # SQLite counts faster where it is told that nothing has to hold.
        chosen = "" if condition == All(()) and deleted is None else f" WHERE {where}"
        with self._database.reading() as connection:
            (count,) = connection.execute(f"SELECT count(*) FROM files{chosen}", parameters).fetchone()
        return int(count)

    def mismatched(self, comparison: Compare, outside: Condition, most: int) -> tuple[int, dict[str, Any]]:
        """How many files outside of a condition have a value of a kind that one of its comparisons does not take; and some
        of them, by their unique values, with what they have, ``most`` at most."""
        fragment = self.compiler.mismatch(comparison)
        if fragment.sql == FALSE:
            return 0, {}
        where, parameters = self._where(Not(outside), False)
        chosen = f"FROM files WHERE {where} AND ({fragment.sql})"
        key = comparison.key
        some = f"SELECT {self.unique_sql}, {self.compiler.value(key)}, {self.compiler.kind(key)} {chosen} LIMIT ?"
        with self._database.reading() as connection:
            (count,) = connection.execute(f"SELECT count(*) {chosen}", (*parameters, *fragment.parameters)).fetchone()
            if not count:
                return 0, {}
            rows = connection.execute(some, (*parameters, *fragment.parameters, most)).fetchall()
        return int(count), {str(name): cell_value(cell, kind) for name, cell, kind in rows}

    def is_mismatched(self, name: str, comparison: Compare) -> bool:
        """Whether the file of this unique value has a value of a kind that a comparison does not take."""
        fragment = self.compiler.mismatch(comparison)
        return any(self._of_named("1", [name], f"WHERE {fragment.sql}", fragment.parameters))

    def distinct(
        self,
        keys: Sequence[str],
        condition: Condition,
        *,
        deleted: bool | None = False,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[dict[str, Any]]:
        """Each combination of values of these keys once, in their order; what is absent comes as None, and first."""
        where, parameters = self._where(condition, deleted)
        cells = ", ".join(f"{self.compiler.value(key)}, {self.compiler.kind(key)}" for key in keys)
        order = ", ".join(str(2 * at + 1) for at in range(len(keys)))
        sql = f"SELECT DISTINCT {cells} FROM files WHERE {where} ORDER BY {order} LIMIT {-1 if limit is None else limit} OFFSET {offset}"
        with self._database.reading() as connection:
            rows = connection.execute(sql, parameters).fetchall()
            combinations = [
                {key: cell_value(row[2 * at], row[2 * at + 1]) for at, key in enumerate(keys)} for row in rows
            ]
        found: dict[str, dict[str, Any]] = {}
        for values in combinations:
            found.setdefault(repr(values), values)
        return list(found.values())

    def where(self, condition: Condition, *, deleted: bool | None = False) -> tuple[str, list[Any]]:
        """The condition as SQL over ``files``, for statements of the ledger."""
        return self._where(condition, deleted)

    def _where(self, condition: Condition, deleted: bool | None) -> tuple[str, list[Any]]:
        fragment = self.compiler.compile(condition)
        alive = "1" if deleted is None else f"files.__deleted = {int(deleted)}"
        # In brackets, for it is put beside other conditions.
        return f"({all_of([fragment.sql, alive])})", fragment.parameters

    def _order(self, order_by: Sequence[str], *, chosen: bool) -> str:
        parts = []
        for name in order_by:
            key = name[1:] if name.startswith("-") else name
            parts.append(f"{self.compiler.value(key)} {'DESC' if name.startswith('-') else 'ASC'}")
        # The plus: to save the sorting of those that a condition chooses, SQLite would look at all files in this order,
        # and not take an index over a key. Where only the first few are wanted that may well be right.
        return ", ".join([*parts, "+files.rowid" if chosen else "files.rowid"])

    @property
    def _select(self) -> str:
        names = [f"files.{name}" for name in self.system]
        names += [f"files.{name}" for columns in self.owners for name in columns.sql]
        return f"SELECT files.rowid, {self.unique_sql}, {', '.join(names)} FROM files"

    def _fetch(self, numbers: Sequence[int], where: str, parameters: list[Any]) -> Iterator[FileRow]:
        # NOT INDEXED: an index over a key of the condition would be asked for each of the rows.
        numbered = f"files.rowid IN ({', '.join(map(str, numbers))})"
        sql = f"{self._select} NOT INDEXED WHERE {numbered} AND ({where})"
        with self._database.reading() as connection:
            rows = {raw[0]: self._row(raw) for raw in connection.execute(sql, parameters)}
        for number in numbers:
            row = rows.pop(number, None)
            if row is not None:
                yield row

    def _row(self, raw: tuple[Any, ...]) -> FileRow:
        width = 2 + len(self.system)
        system = dict(zip(self.system, raw[2:width], strict=True))
        remote = self.owners[0]
        end = width + len(remote.ordered)
        local: dict[str, Any] = {}
        try:
            theirs = remote.decode(raw[width:end], system["__types"], system["__more"])
            if len(self.owners) > 1 and self.owners[1].slots:
                local = self.owners[1].decode(raw[end:], system["__local_types"], system["__local_more"])
        except Damage as error:
            raise Damage(f"the file {raw[1]!r:.80}: {error}", error.schema) from error
        return FileRow(raw[1], theirs, local, system)


def cell_value(cell: Any, kind: str | None) -> Any:
    """What a cell of this kind, as the compiler gives both, holds."""
    try:
        return cell if cell is None or kind is None else from_cell(cell, kind)
    except STUMBLES as error:
        raise Damage(f"a cell cannot be read: {error}") from error
