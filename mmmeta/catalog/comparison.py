"""One comparison as SQL.

Comparisons are by type, as in JSON: ``>= 1`` does not match the text ``"1"``, and ``True`` is not ``1``. What is absent
counts as ``False`` where the comparison is with ``True`` or ``False``; otherwise only ``None`` finds it. ISO dates are
text in the database: a ``date`` matches every moment of that day as it is written there, a ``datetime`` is compared as
a moment, both sides counting as UTC where they carry no offset.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from typing import Any

from mmmeta.catalog.expressions import FALSE, TRUE, Expression, all_of, any_of
from mmmeta.clock import to_microseconds
from mmmeta.filters import Kind

_INT64 = 1 << 63
_AFTER_ALL_DIGITS = ":"

_LONGEST_INTEGER = 4_300
"""Digits; no longer integer is ever kept, and Python refuses to write one as text."""


@dataclass
class Fragment:
    """SQL with its parameters, in order."""

    sql: str
    parameters: list[Any] = field(default_factory=list)


def compile_comparison(key: Expression, op: str, value: Any) -> Fragment:
    """The comparison of a key with a value; see the module for what matches."""
    return _COMPILERS[op](key, op, value)


def matches_absent(op: str, value: Any) -> bool:
    """Whether a comparison holds for a file that does not have the key."""
    if op == "=":
        return value is False or value is None
    if op == "in":
        return any(item is False or item is None for item in value)
    if op == "!=":
        return value is True
    if op == "notin":
        return any(item is True for item in value) and not any(item is False or item is None for item in value)
    return False


def compile_mismatch(key: Expression, kinds: Collection[Kind]) -> Fragment:
    """What has a value under a key, and one of none of these kinds."""
    tests = {
        Kind.TEXT: key.is_text,
        Kind.NUMBER: any_of([key.is_number, key.is_big]),
        Kind.BOOL: key.is_bool,
        Kind.DATE: all_of([key.is_text, f"mmmeta_moment({key.cell}) IS NOT NULL"]),
    }
    fits = any_of([tests[kind] for kind in Kind if kind in kinds])
    return Fragment(f"{key.cell} IS NOT NULL AND NOT ifnull(({fits}), 0)")


def join_all(parts: Sequence[Fragment]) -> Fragment:
    """The parts joined with AND."""
    return _join(all_of, parts, neutral=TRUE, deciding=FALSE)


def join_any(parts: Sequence[Fragment]) -> Fragment:
    """The parts joined with OR."""
    return _join(any_of, parts, neutral=FALSE, deciding=TRUE)


def _join(join: Callable[[Sequence[str]], str], parts: Sequence[Fragment], *, neutral: str, deciding: str) -> Fragment:
    # A part that is left out must not leave its parameters behind.
    if any(part.sql == deciding for part in parts):
        return Fragment(deciding)
    kept = [part for part in parts if part.sql != neutral]
    return Fragment(join([part.sql for part in kept]), [item for part in kept for item in part.parameters])


def _typed(test: str, sql: str, *parameters: Any) -> Fragment:
    """A comparison that counts only where ``test`` says that the cell has the right kind."""
    return Fragment(FALSE) if test == FALSE else Fragment(all_of([sql, test]), list(parameters))


def _equal(key: Expression, op: str, value: Any) -> Fragment:
    if value is None:
        return Fragment(key.null)
    if value is True:
        return _typed(key.is_bool, f"{key.cell} = 1")
    if value is False:
        return join_any([_typed(key.is_bool, f"{key.cell} = 0"), Fragment(key.absent)])
    if isinstance(value, str):
        return _typed(key.is_text, f"{key.cell} = ?", value)
    if isinstance(value, date):
        return _dated(key, "=", value)
    return _number(key, "=", value)


def _unequal(key: Expression, op: str, value: Any) -> Fragment:
    return _not_in(key, op, (value,))


def _in(key: Expression, op: str, values: tuple[Any, ...]) -> Fragment:
    texts = [value for value in values if isinstance(value, str)]
    parts = [_equal(key, "=", value) for value in values if not isinstance(value, str)]
    if texts:
        parts.append(_typed(key.is_text, f"{key.cell} IN ({', '.join('?' * len(texts))})", *texts))
    return join_any(parts)


def _not_in(key: Expression, op: str, values: tuple[Any, ...]) -> Fragment:
    """Present and none of the values; what is absent counts only against ``True`` and ``False``."""
    inside = _in(key, "in", values)
    candidates = f"{key.cell} IS NOT NULL"
    if any(type(value) is bool for value in values):
        candidates = any_of([candidates, key.absent])
    return Fragment(all_of([candidates, f"NOT ifnull(({inside.sql}), 0)"]), inside.parameters)


def _ordered(key: Expression, op: str, value: Any) -> Fragment:
    if isinstance(value, str):
        return _typed(key.is_text, f"{key.cell} {op} ?", value)
    if isinstance(value, date):
        return _dated(key, op, value)
    return _number(key, op, value)


def _between(key: Expression, op: str, values: tuple[Any, Any]) -> Fragment:
    return join_all([_ordered(key, ">=", values[0]), _ordered(key, "<=", values[1])])


def _number(key: Expression, op: str, value: int | float) -> Fragment:
    """Numbers of all kinds compare with each other; those kept as text because they exceed 64 bits do so as floats,
    except for equality, which is exact."""
    fits = not isinstance(value, int) or -_INT64 <= value < _INT64
    near = value if fits else _as_float(int(value))
    if op != "=":
        ordered = f"CAST({key.cell} AS NUMERIC) {op} ?"
        return join_any([_typed(key.is_number, f"{key.cell} {op} ?", near), _typed(key.is_big, ordered, near)])
    parts = [_typed(key.is_number, f"{key.cell} = ?", value)] if fits else []
    digits = _digits(value)
    if digits is not None:
        parts.append(_typed(key.is_big, f"{key.cell} = ?", digits))
        if key.shared and not fits:
            # SQLite reads a long integer in JSON as a float, which its neighbours are as well.
            exactly, texts = key.written_in_json(digits)
            parts.append(_typed(key.is_number, f"{key.cell} = ? AND {exactly}", near, *texts))
    return join_any(parts)


def _digits(value: int | float) -> str | None:
    """A whole number as it is kept in text; None for others, and for those that are too long to be kept."""
    if (isinstance(value, float) and not value.is_integer()) or abs(value) >= 10**_LONGEST_INTEGER:
        return None
    return str(int(value))


def _as_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _dated(key: Expression, op: str, value: date) -> Fragment:
    if key.is_text == FALSE:
        return Fragment(FALSE)
    test = all_of([key.is_text, _begins_as_date(key.cell)])
    if not isinstance(value, datetime):
        day, after = value.isoformat(), _day(value, 1)
        if op == "=":
            return _typed(test, f"{key.cell} >= ? AND {key.cell} < ?", day, after)
        sql, limit = {"<": ("<", day), "<=": ("<", after), ">": (">=", after), ">=": (">=", day)}[op]
        return _typed(test, f"{key.cell} {sql} ?", limit)
    # As text, a time with an offset is at most a day from where it belongs: only those near the limit are parsed.
    aware = value if value.tzinfo is not None else value.replace(tzinfo=timezone.utc)
    moment = to_microseconds(aware)
    low, high = _day(aware, -2), _day(aware, 2)
    exact = f"mmmeta_moment({key.cell}) {op} ?"
    if op == "=":
        return _typed(test, f"{key.cell} >= ? AND {key.cell} < ? AND {exact}", low, high, moment)
    if op in (">", ">="):
        return _typed(test, f"{key.cell} >= ? AND ({key.cell} >= ? OR {exact})", low, high, moment)
    return _typed(test, f"{key.cell} < ? AND ({key.cell} < ? OR {exact})", high, low, moment)


def _begins_as_date(cell: str) -> str:
    """SQL that is true for a text that is an ISO date, or begins with one and goes on with a time."""
    return (
        f"{cell} GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*' "
        f"AND (length({cell}) = 10 OR substr({cell}, 11, 1) IN ('T', ' '))"
    )


def _day(value: date, days: int) -> str:
    """The ISO date so many days away from that of a date or, in UTC, a datetime."""
    try:
        if isinstance(value, datetime):
            value = value.astimezone(timezone.utc).date()
        return (value + timedelta(days=days)).isoformat()
    except OverflowError:
        return _AFTER_ALL_DIGITS if days > 0 else ""


def _like(key: Expression, op: str, value: str) -> Fragment:
    """SQLite's LIKE: ``%`` and ``_``, ASCII letters in either case, as dataset has it on SQLite."""
    return _typed(key.is_text, f"{key.cell} {'NOT ' if op.startswith('not') else ''}LIKE ?", value)


def _starts_with(key: Expression, op: str, value: str) -> Fragment:
    """As ``like`` with a ``%`` after the value, which means itself: ASCII letters in either case."""
    stretch = caseless(value)
    parts = [Fragment(f"{key.cell} >= ? AND {key.cell} < ?", [stretch, stretch + "\U0010ffff"])] if stretch else []
    if stretch != value:
        parts.append(Fragment(f"lower(substr({key.cell}, 1, {len(value)})) = lower(?)", [value]))
    parts.append(Fragment(f"{key.cell} IS NOT NULL"))
    inside = join_all(parts)
    return _typed(key.is_text, inside.sql, *inside.parameters)


def caseless(text: str) -> str:
    """The beginning of a text up to its first ASCII letter: one stretch of an index holds all that begins with it."""
    return next((text[:at] for at, letter in enumerate(text) if letter.isascii() and letter.isalpha()), text)


def _ends_with(key: Expression, op: str, value: str) -> Fragment:
    """As ``like`` with a ``%`` before the value, which means itself: ASCII letters in either case."""
    if not value:
        return _typed(key.is_text, f"{key.cell} IS NOT NULL")
    return _typed(key.is_text, f"lower(substr({key.cell}, -{len(value)})) = lower(?)", value)


_COMPILERS: dict[str, Callable[[Expression, str, Any], Fragment]] = {
    "=": _equal,
    "!=": _unequal,
    "in": _in,
    "notin": _not_in,
    "<": _ordered,
    "<=": _ordered,
    ">": _ordered,
    ">=": _ordered,
    "between": _between,
    "like": _like,
    "ilike": _like,
    "notlike": _like,
    "notilike": _like,
    "startswith": _starts_with,
    "endswith": _ends_with,
}
