"""Which column of a SQL target holds which metadata key, of what kind, and how a value is written into it.

Pure decisions; ``tables`` carries them out. Any key gets a column; what the database refuses as a name (too long, a
clash of upper and lower case, NUL) gets another one. Past the limit of columns, keys live in one JSON column. SQLite
columns are declared without a type, so that they keep every value as it is; PostgreSQL columns start with the kind of
their first values and are widened when others come, to ``numeric`` or to ``text``; elsewhere every value is text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from mmmeta.errors import TargetError
from mmmeta.target import mysql
from mmmeta.target.names import DISTURBING, NAME_BYTES, OVERFLOW, SYSTEM_NAMES, TableName
from mmmeta.values import json_text

LIMITS = {"sqlite": 1000, "postgresql": 300}
"""Columns a table. SQLite stops at 2,000. A PostgreSQL row has 8 kB: longer values are kept elsewhere, but up to 24 bytes
stay in the row, also of a value that was longer and could be compressed."""

OTHER_LIMIT = 150
"""Columns a table in MariaDB and MySQL, whose rows have 8 kB, 41 bytes of each column in them."""

UNIQUE = "unique"
"""Kind of the column that is known to have a unique index, so that an upsert works."""

ROWS = "rows"
"""Kind of the column that identifies a file in a table with several rows a file."""

EXACT_INTEGER = 2**53
"""Up to here a double holds every integer."""

NUMBERS = frozenset({"small", "integer", "float", "number"})

OWN_KEY = "__column:"
"""What the keys of columns begin with that hold another key's value, or the content. Metadata keys never begin so. Thus
``{title: headline}`` and a key ``title`` are told apart, and a job that writes all metadata leaves such columns alone."""


def own_key(column: str, source: str) -> str:
    """The key of a column that holds another key's value, or the content, which has no key. Two jobs that fill one column
    from different sources have different keys, so that the second is refused instead of writing over the first."""
    return f"{OWN_KEY}{column}={source}"


@dataclass(frozen=True)
class WantedColumns:
    """Which columns of a table a job writes.

    Attributes:
        unique: key of the column that identifies a file.
        append: whether there is a row for each version of a file; otherwise one a file.
        names: key → the name of its column, where a person chose it.
        kinds: key → kind of its column, where that is known beforehand.
        only: the keys that are written, in the order of their columns; None for all that come.
    """

    unique: str
    append: bool = False
    names: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    only: tuple[str, ...] | None = None

    @property
    def unique_kind(self) -> str:
        """What the registry says of the unique key's column."""
        return ROWS if self.append else UNIQUE

    def writes(self, key: str) -> bool:
        """Whether a column of this key is the job's to write, also with NULL."""
        if self.only is not None:
            return key in self.only
        return not key.startswith(OWN_KEY) or key in self.names

    def name(self, key: str, taken: Collection[str], dialect: str) -> str:
        """The name of a new column.

        Args:
            taken: names that are in use, folded.

        Raises:
            TargetError: the name that a person chose is not free.
        """
        name = self.names.get(key)
        if name is None:
            return column_name(key, taken, dialect)
        if folded(name, dialect) in taken:
            raise TargetError(
                f"the column {name!r} is there already, for another key or in another case. Choose another name in "
                "`columns:` or `content:`"
            )
        return name


@dataclass(frozen=True)
class TargetColumn:
    """One column of the target.

    Attributes:
        key: the metadata key.
        name: the column's name.
        kind: ``any`` (SQLite), ``boolean``, ``integer``, ``float``, ``number``, ``text``, ``bytes``; ``null`` for a
            chosen one that had no value yet; ``own`` for one that somebody else made, whose type is left alone.
    """

    key: str
    name: str
    kind: str


@dataclass(frozen=True)
class TargetColumns:
    """The columns of a target at one moment; read anew when the target's version is another.

    Attributes:
        dialect: SQLAlchemy's name of the database.
        table: the target's table.
        unique: the unique key's column.
        wanted: which of them the job writes.
        by_key: key → column, of those that the job writes, without the unique key's.
        registered: names of all columns that hold something for some job.
        taken: names of all columns of the table, folded.
        required: names of the columns that must not be NULL and that the database does not fill.
        version: grows with every column that is added or widened.
        fixed: key → why its column could not be widened.
    """

    dialect: str
    table: TableName
    unique: TargetColumn
    by_key: Mapping[str, TargetColumn]
    taken: frozenset[str]
    version: int
    wanted: WantedColumns
    registered: frozenset[str] = frozenset()
    required: frozenset[str] = frozenset()
    fixed: Mapping[str, str] = field(default_factory=dict)

    @property
    def overflows(self) -> bool:
        """Whether there is a column for the keys that have none. Chosen keys always have one."""
        return OVERFLOW in self.taken and self.wanted.only is None

    @property
    def room(self) -> int:
        """How many columns may be added, the one for the overflow counted."""
        return max(0, LIMITS.get(self.dialect, OTHER_LIMIT) - len(self.taken))

    def needs(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        """Key → kind of the columns to add or to widen before these rows can be written.

        The most frequent keys come first, so that one odd file does not take the columns from all the others.
        """
        absent, kinds = needed_kinds(rows, [*self.by_key, self.unique.key], self.dialect)
        if self.overflows and not self.room:
            absent = {}
        absent = self._chosen(kinds) if self.wanted.only is not None else absent | self._chosen(kinds)
        for key, kind in kinds.items():
            column = self.by_key.get(key)
            if column is None or column.kind == "own" or key in self.fixed or key in self.wanted.kinds:
                continue
            if column.kind == UNIQUE and kind == "text":
                continue  # what identified files before: text already, and known as that still
            if wider(column.kind, kind) != column.kind:
                absent[key] = stored(wider(column.kind, kind))
        return absent

    def _chosen(self, kinds: Mapping[str, str]) -> dict[str, str]:
        """Key → kind of the columns that a person chose and that are not there; they are made without a value, too."""
        default = "any" if self.dialect == "sqlite" else "null" if self.dialect == "postgresql" else "text"
        absent = {}
        for key in self.wanted.names if self.wanted.only is None else self.wanted.only:
            if key not in self.by_key and key != self.unique.key:
                absent[key] = self.wanted.kinds.get(key) or stored(kinds.get(key, default))
        return absent

    @property
    def bound(self) -> list[TargetColumn]:
        """The columns that a row has cells for, in their order: the unique key's, those of ``by_key``, the overflow."""
        overflow = [TargetColumn(OVERFLOW, OVERFLOW, "text")] if self.overflows else []
        return [self.unique, *self.by_key.values(), *overflow]

    def identity(self, unique: str) -> Any:
        """The bound value of the unique key's column.

        Raises:
            ValueError: it does not fit; the message names the key.
        """
        if "\0" in unique and self.dialect == "postgresql":
            raise ValueError(f"{self.unique.key}: {unique!r} holds a NUL character, which PostgreSQL cannot keep")
        if mysql.is_one(self.dialect) and len(unique) > mysql.ID_CHARACTERS:
            most = f"MariaDB and MySQL index {mysql.ID_CHARACTERS} characters"
            raise ValueError(f"{self.unique.key}: {unique!r:.60} has {len(unique):,} characters, and {most}")
        return driver_value(unique, "text", self.dialect)

    def cell(self, key: str, value: Any) -> Any:
        """The bound value of another key's column.

        Raises:
            ValueError: it does not fit; the message names the key.
        """
        column = self.by_key[key]
        try:
            if key in self.fixed and wider(column.kind, column_kind(value)) != column.kind:
                raise ValueError(f"does not fit the column, which cannot be widened ({self.fixed[key]})")
            return driver_value(value, column.kind, self.dialect)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{key}: {value!r:.60}: {error}") from error

    def rest(self, values: Mapping[str, Any]) -> Any:
        """The bound value of the overflow: a JSON object of the keys that have no column; None where there are none."""
        rest = {key: values[key] for key in values.keys() - self.by_key.keys() - {self.unique.key}}
        return driver_value(dict(sorted(rest.items())), "text", self.dialect) if rest else None


def needed_kinds(
    rows: Sequence[Mapping[str, Any]], known: Collection[str], dialect: str
) -> tuple[dict[str, str], dict[str, str]]:
    """The keys that are not known, the most frequent first, with their kind; and the kind of every key's values.

    The second is only made for PostgreSQL, the one database whose kinds are told apart.
    """
    values: dict[str, list[Any]] = {}
    columns = frozenset(known)
    for row in rows:
        if not columns.issuperset(row):
            for key in row:
                if key not in columns:
                    values.setdefault(key, []).append(row[key])
    # Equally frequent ones stay in the order of the metadata.
    order = sorted(values, key=lambda key: -len(values[key]))
    if dialect != "postgresql":
        return dict.fromkeys(order, "any" if dialect == "sqlite" else "text"), {}
    values.update((key, [row.get(key) for row in rows]) for key in known)
    kinds = {key: kind for key, found in values.items() if (kind := kind_of_all(found)) is not None}
    # A key that was only ever null gets its column when it has a value: nobody knows the kind yet.
    return {key: stored(kinds[key]) for key in order if key in kinds}, kinds


_KIND_OF_TYPE = {bool: "boolean", float: "float", str: "text", list: "text", dict: "text"}


def kind_of_all(values: Sequence[Any]) -> str | None:
    """The kind of column that holds each of these values; None where all are null."""
    types = set(map(type, values))
    kinds = {_KIND_OF_TYPE[one] for one in types if one in _KIND_OF_TYPE}
    if int in types:
        numbers = [value for value in values if type(value) is int]
        kinds.update((column_kind(min(numbers)), column_kind(max(numbers))))
    if others := types - _KIND_OF_TYPE.keys() - {int, type(None)}:
        kinds.update(column_kind(value) for value in values if type(value) in others)
    kind = None
    for one in sorted(kinds):
        kind = wider(kind, one)
    return kind


def column_kind(value: Any) -> str:
    """The kind of column that holds a value as it is; ``small`` is an integer that a double holds too."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        if -EXACT_INTEGER <= value <= EXACT_INTEGER:
            return "small"
        return "integer" if -(2**63) <= value < 2**63 else "text"
    return "float" if isinstance(value, float) else "text"


def stored(kind: str) -> str:
    """The kind of a new column for values of a kind."""
    return "integer" if kind == "small" else kind


def wider(first: str | None, second: str) -> str:
    """The kind that holds both without loss."""
    if first in (None, "null") or first == second:
        return second
    if first not in NUMBERS or second not in NUMBERS:
        return "text"
    if "small" in (first, second):
        return first if second == "small" else second
    return "number"


def driver_value(value: Any, kind: str, dialect: str) -> Any:
    """A value as the driver takes it for a column of this kind; lists and objects become JSON text.

    PostgreSQL's text cannot hold NUL; there it is written as the six characters of its JSON escape.

    Raises:
        TypeError: a value of a type that metadata does not have.
        ValueError: text that is not valid Unicode.
    """
    if isinstance(value, bytes) and kind in ("bytes", "own"):
        return value
    if isinstance(value, bool | int | float) and kind != "text":
        if kind == "number":
            return Decimal(repr(value))
        return value if isinstance(value, float) or column_kind(value) != "text" else str(value)
    text = value if isinstance(value, str) else json_text(value)
    if not text.isascii():
        text.encode()
    return text.replace("\0", "\\u0000") if dialect == "postgresql" else text


def folded(name: str, dialect: str) -> str:
    """A column's name as a database tells such names apart; without case everywhere, PostgreSQL included."""
    return mysql.folded(name) if mysql.is_one(dialect) else name.lower()


def column_name(key: str, taken: Collection[str], dialect: str = "") -> str:
    """The key itself where the database takes it, else a readable part of it and its hash; the same every time.

    Args:
        key: the metadata key.
        taken: the names that are in use, folded.
    """
    refused = not key or "\0" in key or len(key.encode()) > NAME_BYTES or any(part in key for part in DISTURBING)
    refused = refused or (mysql.is_one(dialect) and mysql.refuses_name(key))
    if not refused and folded(key, dialect) not in taken and key.lower() not in SYSTEM_NAMES:
        return key
    replaced = "%[\0" + ("".join(part for part in key if ord(part) > 0xFFFF) if mysql.is_one(dialect) else "")
    readable = "".join(" " if character in replaced else character for character in key).strip() or "key"
    readable = readable.encode()[: NAME_BYTES - 20].decode(errors="ignore")
    name = mangled = f"{readable}_{hashlib.blake2b(key.encode(), digest_size=4).hexdigest()}"
    count = 1
    while folded(name, dialect) in taken:
        count += 1
        name = f"{mangled}_{count}"
    return name
