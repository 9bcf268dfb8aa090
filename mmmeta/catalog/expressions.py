"""One metadata key as SQL: where its cell is, and what tells the kinds of its values apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmmeta.catalog.cells import Slot
from mmmeta.catalog.columns import REMOTE
from mmmeta.sqlite.statements import quote_identifier
from mmmeta.values import default_kind, json_text

TRUE = "1"
FALSE = "0"


def all_of(parts: Sequence[str]) -> str:
    """The parts joined with AND; what is always true is left out."""
    if FALSE in parts:
        return FALSE
    kept = [part for part in parts if part != TRUE]
    return " AND ".join(f"({part})" for part in kept) if len(kept) > 1 else (kept[0] if kept else TRUE)


def any_of(parts: Sequence[str]) -> str:
    """The parts joined with OR; what is never true is left out."""
    if TRUE in parts:
        return TRUE
    kept = [part for part in parts if part != FALSE]
    return " OR ".join(f"({part})" for part in kept) if len(kept) > 1 else (kept[0] if kept else FALSE)


class Expression:
    """One key of one owner as SQL: its cell, and what tells the kinds apart.

    Only kinds that the registry has seen are told apart, so that the usual key, which has one, costs one comparison
    that an index can answer.
    """

    def __init__(self, slot: Slot) -> None:
        self._slot = slot
        self.owner: str = slot.owner
        self._types = "__types" if slot.owner == REMOTE else "__local_types"
        self._more = "__more" if slot.owner == REMOTE else "__local_more"
        self.shared: bool = slot.column is None
        self.column: str = slot.column or slot.key
        if self.shared:
            literal = slot.key.replace("'", "''").replace("\0", "' || char(0) || '")
            where = f"FROM json_each(files.{self._more}) AS j WHERE j.key = '{literal}'"
            self.cell: str = f"(SELECT j.value {where})"
            self._json_type = f"(SELECT j.type {where})"
        else:
            self.cell = f"files.{quote_identifier(self.column)}"

    def _has(self, kinds: str) -> bool:
        return any(kind in self._slot.kinds for kind in kinds)

    def _marked(self, kind: str) -> str:
        return f"instr(files.{self._types}, ';{self._slot.id}{kind};') > 0"

    def _is(self, kind: str, storage: str, sample: Any) -> str:
        """SQL that is true for cells of a kind; only what the seen kinds leave open is asked."""
        if not self._has(kind):
            return FALSE
        if default_kind(sample, self._slot.usual) != kind:
            return self._marked(kind)
        tests = []
        others = [other for other in self._slot.kinds if other not in (kind, "n")]
        if others:
            tests.append(f"typeof({self.cell}) = '{storage}'")
        same_storage = {"text": "sjI", "integer": "ib", "real": "f"}[storage]
        tests.extend(
            f"(files.{self._types} IS NULL OR NOT {self._marked(other)})" for other in others if other in same_storage
        )
        return all_of(tests)

    def written_in_json(self, text: str) -> tuple[str, list[str]]:
        """SQL, with its parameters, that is true where the shared column holds this key with exactly this JSON text."""
        member = f"{json_text(self._slot.key)}:{text}"
        column = f"files.{self._more}"
        return f"(instr({column}, ?) > 0 OR instr({column}, ?) > 0)", [member + ",", member + "}"]

    @property
    def is_text(self) -> str:
        return f"{self._json_type} = 'text'" if self.shared else self._is("s", "text", "")

    @property
    def is_json(self) -> str:
        return f"{self._json_type} IN ('array', 'object')" if self.shared else self._is("j", "text", "")

    @property
    def is_big(self) -> str:
        return FALSE if self.shared else self._is("I", "text", "")

    @property
    def is_number(self) -> str:
        if self.shared:
            return f"{self._json_type} IN ('integer', 'real')"
        return any_of([self._is("i", "integer", 1), self._is("f", "real", 1.0)])

    @property
    def is_bool(self) -> str:
        return f"{self._json_type} IN ('true', 'false')" if self.shared else self._is("b", "integer", 1)

    @property
    def present(self) -> str:
        """Set, be it to null."""
        if self.shared:
            return f"{self._json_type} IS NOT NULL"
        if self._has("n"):
            return f"({self.cell} IS NOT NULL OR ifnull({self._marked('n')}, 0))"
        return f"{self.cell} IS NOT NULL"

    @property
    def absent(self) -> str:
        """Neither a value nor null."""
        if self.shared:
            return f"{self._json_type} IS NULL"
        if self._has("n"):
            return f"({self.cell} IS NULL AND NOT ifnull({self._marked('n')}, 0))"
        return f"{self.cell} IS NULL"

    @property
    def null(self) -> str:
        """Absent or null."""
        return f"{self.cell} IS NULL"

    @property
    def kind(self) -> str:
        """The kind letter as an SQL value, NULL where SQLite's storage class tells it."""
        if self.shared:
            return (
                f"CASE {self._json_type} WHEN 'true' THEN 'b' WHEN 'false' THEN 'b' WHEN 'array' THEN 'j' "
                "WHEN 'object' THEN 'j' WHEN 'null' THEN 'n' END"
            )
        whens = "".join(f" WHEN {self._marked(kind)} THEN '{kind}'" for kind in self._slot.kinds)
        usual = self._slot.usual
        if usual in ("j", "I", "b"):
            storage = "integer" if usual == "b" else "text"
            whens += f" WHEN typeof({self.cell}) = '{storage}' THEN '{usual}'"
        return f"CASE{whens} END" if whens else "NULL"


class SystemExpression(Expression):
    """One of mmmeta's own columns; a plain cell without marks."""

    def __init__(self, name: str) -> None:
        super().__init__(Slot(0, REMOTE, name, name, None, "sif"))

    def _is(self, kind: str, storage: str, sample: Any) -> str:
        if kind == "b":
            return f"typeof({self.cell}) = 'integer'"
        return f"typeof({self.cell}) = '{storage}'" if kind in "sif" else FALSE
