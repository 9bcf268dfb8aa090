"""The registry of one owner's metadata keys, and the columns of ``files`` that they have.

Every metadata key has a column of its own, without a type, so that SQLite keeps each value as it came. The registry
maps keys to columns, because names may clash when case is folded, be too long, or not be names at all; keys past
``COLUMN_LIMIT`` share one JSON column. It also knows which kinds of values a key has had, so that queries need to tell
apart only what really occurs.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence

from mmmeta.catalog.cells import Codec, Slot
from mmmeta.errors import ValueNotSupportedError
from mmmeta.sqlite.damage import LARGEST_COUNT, Damage
from mmmeta.sqlite.statements import quote_identifier
from mmmeta.values import KIND_OF_TYPE, RESERVED_PREFIX

REMOTE = "remote"
CLIENT = "client"

COLUMN_LIMIT = {REMOTE: 1_000, CLIENT: 500}
"""Keys of each owner that get a column; SQLite stops at 2,000 columns, the system's own included."""

_KINDS = frozenset(KIND_OF_TYPE.values()) | {"I"}
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_:]{0,62}")
_ROWID_NAMES = {"rowid", "oid", "_rowid_"}


class KeyColumns(Codec):
    """The keys of one owner in one ``files`` table, numbered for themselves: what one owner's registry says never
    reaches the other's.

    Adding keys changes the table at once and the registry at ``flush``; both belong in one transaction, and after a
    rollback the object is to be thrown away.

    Args:
        owner: ``REMOTE`` or ``CLIENT``.
        unique: the key that identifies a file; its column is the remote's.
        schema: ``main``, or the name of an attached database, which is only read.
    """

    def __init__(self, connection: sqlite3.Connection, owner: str, unique: str, schema: str = "main") -> None:
        # The primary key is a text column.
        super().__init__(schema, unique if owner == REMOTE else None)
        self.owner = owner
        self.unique = unique
        self._connection = connection
        self._changed: set[str] = set()
        self._taken: set[str] = set()
        self._next_id = 1

    @classmethod
    def load(cls, connection: sqlite3.Connection, owner: str, unique: str, schema: str = "main") -> KeyColumns:
        """Read the registry.

        Raises:
            Damage: the registry holds what mmmeta never writes.
        """
        columns = cls(connection, owner, unique, schema)
        rows = connection.execute(
            f"SELECT id, owner, key, column_name, usual, kinds FROM {quote_identifier(schema)}.registry ORDER BY id"
        )
        for number, row_owner, key, column, usual, kinds in rows:
            _check_registry(number, row_owner, key, column, usual, kinds, schema)
            if column is not None:
                if column.lower() in columns._taken:
                    raise Damage(f"its registry has the column {column!r:.60} twice", schema)
                columns._taken.add(column.lower())
            if row_owner == owner:
                if number in columns._by_id or key in columns.slots:
                    raise Damage(f"its registry has the key {key!r:.60} or its number twice", schema)
                columns._enter(Slot(number, owner, key, column, usual, kinds))
                columns._next_id = number + 1
        if owner == REMOTE and (unique not in columns.slots or columns.slots[unique].column is None):
            raise Damage(f"its registry has no column for {unique!r}, which identifies files", schema)
        return columns

    @classmethod
    def create(cls, connection: sqlite3.Connection, unique: str, system: Sequence[str]) -> KeyColumns:
        """The remote's columns of a new ``files`` table: that of the unique key only, which is still to be made.

        Args:
            system: names that no key's column may have.
        """
        columns = cls(connection, REMOTE, unique)
        columns._taken.update(system)
        columns.add(unique)
        return columns

    def add(self, key: str, *, usual: str | None = None) -> Slot:
        """Make a column for a key, or a place in the JSON column; the table grows at once.

        Raises:
            ValueNotSupportedError: the key is one of mmmeta's own.
        """
        if key.startswith(RESERVED_PREFIX):
            raise ValueNotSupportedError(
                f"{key!r} cannot be a metadata key: what begins with {RESERVED_PREFIX!r} is mmmeta's own"
            )
        number, self._next_id = self._next_id, self._next_id + 1
        column = None
        if len(self.ordered) < COLUMN_LIMIT[self.owner]:
            column = self._column_name(key, number)
            self._taken.add(column.lower())
            if key != self.unique or self.owner == CLIENT:
                self._connection.execute(f"ALTER TABLE main.files ADD COLUMN {quote_identifier(column)}")
        slot = Slot(number, self.owner, key, column, usual, "")
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
        self._connection.executemany(
            "INSERT INTO main.registry (id, owner, key, column_name, usual, kinds) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (owner, key) DO UPDATE SET usual = excluded.usual, kinds = excluded.kinds",
            [
                (slot.id, slot.owner, slot.key, slot.column, slot.usual, slot.kinds)
                for slot in (self.slots[key] for key in sorted(self._changed))
            ],
        )
        self._changed.clear()

    def learn(self, slot: Slot, kind: str) -> None:
        super().learn(slot, kind)
        self._changed.add(slot.key)

    @property
    def unique_sql(self) -> str:
        """The quoted name of the remote's column that identifies a file."""
        return quote_identifier(self.slots[self.unique].column or self.unique)

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
        and not key.startswith(RESERVED_PREFIX)
        and (column is None or type(column) is str)
        and (usual is None or usual in _KINDS)
        and type(kinds) is str
        and _KINDS.issuperset(kinds)
        and len(kinds) == len(set(kinds))
    ):
        raise Damage(f"its registry has an odd entry for the key {key!r:.60}", schema)
