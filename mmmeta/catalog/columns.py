"""What both databases share: the registry of metadata keys, and rows of ``files`` to and from Python values.

Every metadata key has a column of its own, without a type, so that SQLite keeps each value as it came. The registry
maps keys to columns, because names may clash when case is folded, be too long, or not be names at all; keys past
``COLUMN_LIMIT`` share one JSON column. It also knows which kinds of values a key has had (see ``mmmeta.values``), so
that queries need to tell apart only what really occurs.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, NamedTuple

from mmmeta.sqlite.damage import LARGEST_COUNT, STUMBLES, Damage
from mmmeta.sqlite.database import quote_identifier
from mmmeta.values import (
    KIND_OF_TYPE,
    default_kind,
    fits_64_bits,
    from_cell,
    json_text,
    kind_of,
    parse_json_text,
    parse_marks,
    to_cell,
    write_marks,
)

FORMAT_VERSION = 1
"""Of meta.db and state.db. A newer one is refused; an older one is migrated."""

REMOTE = "remote"
CLIENT = "client"

COLUMN_LIMIT = {REMOTE: 1_000, CLIENT: 500}
"""Keys of each owner that get a column; SQLite stops at 2,000 columns, the system's own included."""

CLIENT_IDS = 1_000_000
"""First registry id that a state db gives out itself; smaller ones are the metadata db's."""

_SHAPES_KEPT = 1_000
"""Shapes of records to remember; an archive with more has records that are all different."""

_KINDS = frozenset(KIND_OF_TYPE.values()) | {"I"}
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_:]{0,62}")
_ROWID_NAMES = {"rowid", "oid", "_rowid_"}

CREATE_INFO = "CREATE TABLE info (name TEXT PRIMARY KEY NOT NULL, value) WITHOUT ROWID"
CREATE_REGISTRY = """
CREATE TABLE registry (
    id INTEGER PRIMARY KEY,
    owner TEXT NOT NULL,
    key TEXT NOT NULL,
    column_name TEXT,
    usual TEXT,
    kinds TEXT NOT NULL DEFAULT '',
    UNIQUE (owner, key)
)"""

META_SYSTEM = (
    "__rev",
    "__fingerprint",
    "__source",
    "__source_mtime",
    "__meta_added",
    "__meta_last_updated",
    "__deleted",
    "__deleted_at",
    "__deleted_reason",
    "__types",
    "__more",
)
"""System columns of ``files`` in meta.db, in order."""

STATE_SYSTEM = (
    *META_SYSTEM,
    "__local_types",
    "__local_more",
    "__state_added",
    "__state_last_updated",
    "__state_rev",
)
"""System columns of ``files`` in the state db, in order."""


@dataclass
class Slot:
    """One metadata key of one owner: where its cells are and what they may hold.

    Attributes:
        column: None for a key that lives in the shared JSON column.
        usual: the kind that an unmarked cell of that storage class has; None until the first value came.
        kinds: letters of all kinds ever written.
        position: index among the owner's columns; None in the JSON column.
    """

    id: int
    owner: str
    key: str
    column: str | None
    usual: str | None
    kinds: str
    position: int | None = None

    def same_mapping(self, other: Slot) -> bool:
        """Whether cells of ``other`` mean the same here, so that SQL may copy them unread."""
        return self.id == other.id and self.usual == other.usual and (self.column is None) == (other.column is None)


class Cells(NamedTuple):
    """The cells of one owner in one row."""

    cells: list[Any]
    types: str | None
    more: str | None


class Shape(NamedTuple):
    """How records that have the same keys, with values of the same types and in the same order, become cells.

    Attributes:
        pick: from the values, with a None at the end, those of all columns in order.
        integers: positions of integers that are to be kept as such, which needs 64 bits.
        converted: positions of values that are kept as something else, with their kinds.
        types: what ``__types`` says of them.
    """

    pick: itemgetter[Any]
    integers: tuple[int, ...]
    converted: tuple[tuple[int, str], ...]
    types: str | None

    def cells(self, values: Mapping[str, Any], width: int) -> list[Any] | None:
        """The cells of a row of so many columns; None if an integer is too large."""
        cells = list(self.pick((*values.values(), None)))
        for position in self.integers:
            if not fits_64_bits(cells[position]):
                return None
        for position, kind in self.converted:
            cells[position] = to_cell(cells[position], kind)
        if len(cells) < width:
            cells.extend([None] * (width - len(cells)))
        return cells


@dataclass
class Columns:
    """The keys of one owner in one ``files`` table.

    Adding keys changes the table at once and the registry at ``flush``; both belong in one transaction, and after a
    rollback the object is to be thrown away.
    """

    owner: str
    unique: str
    slots: dict[str, Slot] = field(default_factory=dict)
    ordered: list[Slot] = field(default_factory=list)
    _keys: list[str] = field(default_factory=list)
    _by_id: dict[int, Slot] = field(default_factory=dict)
    _changed: set[str] = field(default_factory=set)
    _taken: set[str] = field(default_factory=set)
    _next_id: int = 1
    _next_client_id: int = CLIENT_IDS
    _connection: sqlite3.Connection | None = None
    _special: list[Slot] | None = None
    _marks: dict[str | None, dict[int, str]] = field(default_factory=dict)
    _shapes: dict[tuple[tuple[str, ...], tuple[type, ...]], Shape] = field(default_factory=dict)
    schema: str = "main"

    @classmethod
    def load(cls, connection: sqlite3.Connection, owner: str, unique: str, schema: str = "main") -> Columns:
        """Read the registry; ``schema`` is ``main`` or the name of an attached database.

        Raises:
            Damage: the registry holds what mmmeta never writes.
        """
        columns = cls(owner, unique, _connection=connection, schema=schema)
        rows = connection.execute(
            f"SELECT id, owner, key, column_name, usual, kinds FROM {quote_identifier(schema)}.registry ORDER BY id"
        ).fetchall()
        for number, row_owner, key, column, usual, kinds in rows:
            _check_registry(number, row_owner, key, column, usual, kinds, schema)
            if column is not None:
                columns._taken.add(column.lower())
            if row_owner == owner:
                columns._enter(Slot(number, owner, key, column, usual, kinds))
            if owner == REMOTE and row_owner == REMOTE and number < CLIENT_IDS:
                columns._next_id = number + 1
        if schema == "main" and any(row[0] >= CLIENT_IDS for row in rows):
            columns._next_client_id = max(row[0] for row in rows) + 1
        if owner == REMOTE and (unique not in columns.slots or columns.slots[unique].column is None):
            raise Damage(f"its registry has no column for {unique!r}, which identifies files", schema)
        return columns

    def _enter(self, slot: Slot) -> None:
        if slot.column is not None:
            slot.position = len(self.ordered)
            self.ordered.append(slot)
            self._keys.append(slot.key)
        self.slots[slot.key] = slot
        self._by_id[slot.id] = slot
        self._special = None

    def add(self, key: str, *, number: int | None = None, usual: str | None = None, kinds: str = "") -> Slot:
        """Make a column for a key, or a place in the JSON column; the table grows at once."""
        assert self._connection is not None
        if number is None or number in self._by_id:
            if self.owner == CLIENT or number is not None:
                number, self._next_client_id = self._next_client_id, self._next_client_id + 1
            else:
                number, self._next_id = self._next_id, self._next_id + 1
        column = None
        if len(self.ordered) < COLUMN_LIMIT[self.owner]:
            column = self._column_name(key, number)
            self._taken.add(column.lower())
            if key != self.unique or self.owner == CLIENT:
                self._connection.execute(f"ALTER TABLE main.files ADD COLUMN {quote_identifier(column)}")
        slot = Slot(number, self.owner, key, column, usual, kinds)
        self._enter(slot)
        self._changed.add(key)
        return slot

    def _column_name(self, key: str, number: int) -> str:
        plain = _PLAIN_NAME.fullmatch(key) is not None
        if plain and key.lower() not in self._taken and key.lower() not in _ROWID_NAMES:
            return key
        name = f"{re.sub(r'[^A-Za-z0-9_:]', '_', key)[:40]}__{number}"
        while name.lower() in self._taken:  # by a key of exactly this name
            name += "_"
        return name

    def flush(self) -> None:
        """Write new and changed slots into the registry."""
        if not self._changed:
            return
        assert self._connection is not None
        self._connection.executemany(
            "INSERT INTO main.registry (id, owner, key, column_name, usual, kinds) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET usual = excluded.usual, kinds = excluded.kinds",
            [
                (slot.id, slot.owner, slot.key, slot.column, slot.usual, slot.kinds)
                for slot in (self.slots[key] for key in sorted(self._changed))
            ],
        )
        self._changed.clear()

    def learn(self, slot: Slot, kind: str) -> None:
        """Note a kind of value that this key has not had before."""
        slot.kinds += kind
        self._special = None
        if slot.usual is None and kind != "n":
            slot.usual = kind
        self._changed.add(slot.key)

    def encode(self, values: Mapping[str, Any]) -> Cells:
        """The cells for a record; unknown keys get their columns."""
        # Most records of an archive have the same keys with the same types, and need no look at each value.
        key = tuple(values), tuple(map(type, values.values()))
        shape = self._shapes.get(key)
        if shape is not None:
            cells = shape.cells(values, len(self.ordered))
            if cells is not None:
                return Cells(cells, shape.types, None)
            return self._encode(values)
        encoded = self._encode(values)
        if len(self._shapes) < _SHAPES_KEPT and encoded.more is None and len(self.ordered) > 1:
            self._shapes[key] = self._shape(values, encoded.types)
        return encoded

    def _shape(self, values: Mapping[str, Any], types: str | None) -> Shape:
        """The shape of a record that was just encoded."""
        places = {self.slots[name].position: index for index, name in enumerate(values)}
        absent = len(values)
        indexes = [places.get(position, absent) for position in range(len(self.ordered))]
        integers, converted = [], []
        for name, value in values.items():
            position, kind = self.slots[name].position, kind_of(value)
            assert position is not None
            if name == self.unique and self.owner == REMOTE and kind == "i":
                converted.append((position, "I"))
            elif kind in "iI":
                integers.append(position)
            elif kind in "bj":
                converted.append((position, kind))
        return Shape(itemgetter(*indexes), tuple(integers), tuple(converted), types)

    def _encode(self, values: Mapping[str, Any]) -> Cells:
        """``encode``, value by value."""
        cells: list[Any] = [None] * len(self.ordered)
        marks: dict[int, str] = {}
        more: dict[str, Any] = {}
        slots = self.slots
        for key, value in values.items():
            slot = slots.get(key)
            if slot is None:
                slot = self.add(key)
                if slot.position is not None:
                    cells.append(None)
            kind = KIND_OF_TYPE[type(value)]
            if kind == "i":
                kind = kind_of(value)
                if kind == "i" and key == self.unique and self.owner == REMOTE:
                    kind = "I"  # the primary key is a text column
            if kind not in slot.kinds:
                self.learn(slot, kind)
            position = slot.position
            if position is None:
                more[key] = value
            else:
                cell = to_cell(value, kind)
                cells[position] = cell
                if kind == "n" or kind != default_kind(cell, slot.usual):
                    marks[slot.id] = kind
        return Cells(cells, write_marks(marks), json_text(more) if more else None)

    def decode(self, cells: Sequence[Any], types: str | None, more: str | None) -> dict[str, Any]:
        """The record that ``encode`` was given, in the order of the columns.

        Raises:
            Damage: the cells are none that ``encode`` makes.
        """
        try:
            return self._decode(cells, types, more)
        except STUMBLES as error:
            raise Damage(f"a file's cells cannot be read: {error}", self.schema) from error

    def _decode(self, cells: Sequence[Any], types: str | None, more: str | None) -> dict[str, Any]:
        values = {key: cell for key, cell in zip(self._keys, cells, strict=False) if cell is not None}
        marks = self._marks.get(types)
        if marks is None:
            marks = parse_marks(types)
            if len(self._marks) < _SHAPES_KEPT:
                self._marks[types] = marks
        for slot in self.special:
            cell = values.get(slot.key)
            if cell is not None and slot.id not in marks:
                values[slot.key] = from_cell(cell, default_kind(cell, slot.usual))
        for number, kind in marks.items():
            marked = self._by_id.get(number)
            if marked is None or marked.position is None:
                continue  # a key that came after the registry was read
            values[marked.key] = None if kind == "n" else from_cell(cells[marked.position], kind)
        if more:
            values.update(parse_json_text(more))
        return values

    def decode_cell(self, slot: Slot, cell: Any) -> Any:
        """One unmarked cell as a value."""
        return from_cell(cell, default_kind(cell, slot.usual))

    @property
    def special(self) -> list[Slot]:
        """Slots whose unmarked cells need turning into values."""
        if self._special is None:
            self._special = [slot for slot in self.ordered if slot.usual in ("b", "j", "I")]
        return self._special

    @property
    def sql(self) -> list[str]:
        """The quoted column names, in order of position."""
        return [quote_identifier(slot.column) for slot in self.ordered if slot.column is not None]


def _check_registry(
    number: object, owner: object, key: object, column: object, usual: object, kinds: object, schema: str
) -> None:
    """Refuse a row of the registry that mmmeta never writes."""
    if not (
        type(number) is int
        and 0 < number < LARGEST_COUNT
        and owner in (REMOTE, CLIENT)
        and type(key) is str
        and (column is None or type(column) is str)
        and (usual is None or usual in _KINDS)
        and type(kinds) is str
        and _KINDS.issuperset(kinds)
    ):
        raise Damage(f"its registry has an odd entry for the key {key!r:.60}", schema)


def read_info(connection: sqlite3.Connection, schema: str = "main") -> dict[str, Any]:
    """The table ``info`` as a dict."""
    return dict(connection.execute(f"SELECT name, value FROM {quote_identifier(schema)}.info").fetchall())


def write_info(connection: sqlite3.Connection, **values: Any) -> None:
    """Set entries of the table ``info``."""
    connection.executemany(
        "INSERT INTO main.info (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        list(values.items()),
    )


def table_names(connection: sqlite3.Connection) -> set[str]:
    """Names of all tables of the main database."""
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
