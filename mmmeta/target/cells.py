"""The rows of a batch as a driver takes them: bound by position, a column at a time.

What ``driver_value`` says of one value holds for each. But most columns hold only values that it gives back as they are,
and that is seen of a whole column at once, by the types in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmmeta.target.columns import TargetColumns
from mmmeta.values import fits_64_bits

Row = tuple[Any, ...]
"""The cells of one file, in the order of ``TargetColumns.bound``."""

TOGETHER = 100
"""Rows that are looked at together: they stay in the processor's cache meanwhile."""

_NUMBERS = frozenset({bool, int, float})
_PLAIN = frozenset({str, type(None)}) | _NUMBERS


def bind(
    columns: TargetColumns, uniques: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, Row], dict[str, str]]:
    """File → its cells; and of those that a column cannot hold, the reason, which names the key.

    Every column has a cell in every row: a key that the row lacks becomes NULL, so that nothing of an older version stays.
    """
    bound: dict[str, Row] = {}
    failed: dict[str, str] = {}
    for start in range(0, len(rows), TOGETHER):
        part = slice(start, start + TOGETHER)
        bound |= _bind(columns, uniques[part], rows[part], failed)
    return bound, failed


def _bind(
    columns: TargetColumns, uniques: Sequence[str], rows: Sequence[Mapping[str, Any]], failed: dict[str, str]
) -> dict[str, Row]:
    """The same for a part of a batch; notes the reasons in ``failed``."""
    identities: list[Any] = []
    for unique in uniques:
        try:
            identities.append(columns.identity(unique))
        except ValueError as error:
            identities.append(None)
            failed[unique] = str(error)
    keys = list(columns.by_key)
    cells: list[Sequence[Any]] = [identities, *zip(*[map(row.get, keys) for row in rows], strict=True)]
    for at, (key, column) in enumerate(columns.by_key.items(), 1):
        if key in columns.fixed or not _stay(cells[at], column.kind, columns.dialect):
            cells[at] = _changed(columns, key, cells[at], uniques, failed)
    if columns.overflows:
        rest: list[Any] = []
        for unique, row in zip(uniques, rows, strict=True):
            try:
                rest.append(columns.rest(row))
            except (TypeError, ValueError) as error:
                rest.append(None)
                failed.setdefault(unique, str(error))
        cells.append(rest)
    bound = dict(zip(uniques, zip(*cells, strict=True), strict=True))
    return {unique: row for unique, row in bound.items() if unique not in failed} if failed else bound


def _changed(
    columns: TargetColumns, key: str, values: Sequence[Any], uniques: Sequence[str], failed: dict[str, str]
) -> list[Any]:
    """The cells of a column, value by value; notes the first reason of each file that it cannot hold."""
    cells: list[Any] = []
    for unique, value in zip(uniques, values, strict=True):
        cell = None
        if value is not None:
            try:
                cell = columns.cell(key, value)
            except ValueError as error:
                failed.setdefault(unique, str(error))
        cells.append(cell)
    return cells


def _stay(values: Sequence[Any], kind: str, dialect: str) -> bool:
    """Whether ``driver_value`` gives each of these values back as it is; False also where that takes too long to tell."""
    types = set(map(type, values))
    if not types <= _PLAIN:
        return False
    if kind in ("text", "number") and types & _NUMBERS:
        return False
    if int in types:
        numbers = [value for value in values if type(value) is int]
        if not (fits_64_bits(min(numbers)) and fits_64_bits(max(numbers))):
            return False
    if str in types:
        text = "".join([value for value in values if type(value) is str] if types & _NUMBERS else filter(None, values))
        if dialect == "postgresql" and "\0" in text:
            return False
        try:
            text.isascii() or text.encode()
        except UnicodeEncodeError:
            return False
    return True
