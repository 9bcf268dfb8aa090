"""Records to the cells of a row of ``files`` and back, whatever the types of their values.

SQLite alone would lose types: ``True`` comes back as 1, a list and its text are the same cell, null and absent are the
same NULL. So each key has a usual kind of value (see ``mmmeta.values``), and a row's column ``__types`` lists only the cells
that are of another. Keys without a column of their own lie together in a row's JSON column.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple

from mmmeta.sqlite.damage import STUMBLES, Damage
from mmmeta.values import (
    KIND_OF_TYPE,
    RESERVED_PREFIX,
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

_SHAPES_KEPT = 1_000
"""Shapes of records to remember; an archive with more has records that are all different."""


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


class Codec(ABC):
    """Encodes and decodes the cells of one owner's keys.

    Attributes:
        schema: of the table ``files``: ``main``, or the name of an attached database.
        text_key: the key whose column holds text only; None where there is none.
        slots: by key.
        ordered: the slots that have a column, by position.
    """

    def __init__(self, schema: str, text_key: str | None) -> None:
        self.schema = schema
        self.text_key = text_key
        self.slots: dict[str, Slot] = {}
        self.ordered: list[Slot] = []
        self._keys: list[str] = []
        self._by_id: dict[int, Slot] = {}
        self._special: list[Slot] | None = None
        self._marks: dict[str | None, dict[int, str]] = {}
        self._shapes: dict[tuple[tuple[str, ...], tuple[type, ...]], Shape] = {}

    @abstractmethod
    def add(self, key: str) -> Slot:
        """Make a place for a key that has none."""

    def _enter(self, slot: Slot) -> None:
        if slot.column is not None:
            slot.position = len(self.ordered)
            self.ordered.append(slot)
            self._keys.append(slot.key)
        self.slots[slot.key] = slot
        self._by_id[slot.id] = slot
        self._special = None

    def learn(self, slot: Slot, kind: str) -> None:
        """Note a kind of value that this key has not had before."""
        slot.kinds += kind
        self._special = None
        if slot.usual is None and kind != "n":
            slot.usual = kind

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
            if name == self.text_key and kind == "i":
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
                if kind == "i" and key == self.text_key:
                    kind = "I"
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
            shared = parse_json_text(more)
            # Nothing that mmmeta writes there begins so; in somebody else's database it would pass for mmmeta's own.
            values.update({key: value for key, value in shared.items() if not key.startswith(RESERVED_PREFIX)})
        return values

    @property
    def special(self) -> list[Slot]:
        """Slots whose unmarked cells need turning into values."""
        if self._special is None:
            self._special = [slot for slot in self.ordered if slot.usual in ("b", "j", "I")]
        return self._special
