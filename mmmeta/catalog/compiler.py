"""Conditions to SQL, for meta.db and the state db alike; one comparison is ``comparison``'s subject.

A comparison may come out NULL where it does not match; ``Not`` makes it an exact complement.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from mmmeta.catalog.columns import REMOTE, KeyColumns
from mmmeta.catalog.comparison import (
    Fragment,
    compile_comparison,
    compile_mismatch,
    join_all,
    join_any,
    matches_absent,
)
from mmmeta.catalog.expressions import FALSE, TRUE, Expression, SystemExpression
from mmmeta.filters import Ago, All, Compare, Condition, Not, kinds_taken


class Compiler:
    """Turns conditions into SQL over one ``files`` table (which the statement must call ``files``).

    Args:
        owners: the remote's columns and, in the state db, the client's, whose values come first.
        system: the names of the table's system columns.
        now: the moment that ``{ago: …}`` counts from, aware UTC.
    """

    def __init__(self, owners: Sequence[KeyColumns], system: Sequence[str], now: datetime) -> None:
        self._owners = owners
        self._system = frozenset(system)
        self._now = now

    def expressions(self, key: str) -> list[Expression]:
        """The places where a key's value may be, the client's first; empty for a key that nobody has."""
        if key in self._system:
            return [SystemExpression(key)]
        found = [Expression(columns.slots[key]) for columns in self._owners if key in columns.slots]
        return sorted(found, key=lambda expression: expression.owner == REMOTE)

    def compile(self, condition: Condition) -> Fragment:
        """The condition as SQL."""
        if isinstance(condition, Compare):
            return self._compare(condition)
        if isinstance(condition, Not):
            inner = self.compile(condition.part)
            return Fragment(f"NOT ifnull(({inner.sql}), 0)", inner.parameters)
        parts = [self.compile(part) for part in condition.parts]
        return join_all(parts) if isinstance(condition, All) else join_any(parts)

    def mismatch(self, compare: Compare) -> Fragment:
        """What has a value that is never meant by a comparison, because it is of another kind than it takes."""
        kinds = kinds_taken(compare)
        expressions = self.expressions(compare.key) if kinds else []
        if not expressions:
            return Fragment(FALSE)
        return self._first([(expression, compile_mismatch(expression, kinds)) for expression in expressions])

    def value(self, key: str) -> str:
        """The cell of a key as one SQL expression, to order by; NULL for a key that nobody has."""
        expressions = self.expressions(key)
        if not expressions:
            return "NULL"
        sql = expressions[-1].cell
        for expression in reversed(expressions[:-1]):
            sql = f"CASE WHEN {expression.present} THEN {expression.cell} ELSE {sql} END"
        return sql

    def kind(self, key: str) -> str:
        """The kind letter of a key's cell as one SQL expression; NULL where the storage class tells."""
        expressions = self.expressions(key)
        if not expressions:
            return "NULL"
        sql = expressions[-1].kind
        for expression in reversed(expressions[:-1]):
            sql = f"CASE WHEN {expression.present} THEN {expression.kind} ELSE {sql} END"
        return sql

    def _compare(self, compare: Compare) -> Fragment:
        expressions = self.expressions(compare.key)
        if not expressions:
            return Fragment(TRUE if matches_absent(compare.op, compare.value) else FALSE)
        value = self._resolve(compare.value)
        return self._first(
            [(expression, compile_comparison(expression, compare.op, value)) for expression in expressions]
        )

    def _first(self, places: Sequence[tuple[Expression, Fragment]]) -> Fragment:
        """What holds of the client's value where it has one, else of the remote's."""
        (local, ours), *others = places
        if not others:
            return ours
        ((_, theirs),) = others
        return Fragment(
            f"CASE WHEN {local.present} THEN {ours.sql} ELSE {theirs.sql} END", ours.parameters + theirs.parameters
        )

    def _resolve(self, value: Any) -> Any:
        if isinstance(value, Ago):
            return self._now - timedelta(seconds=value.seconds)
        if isinstance(value, tuple):
            return tuple(self._resolve(item) for item in value)
        return value
