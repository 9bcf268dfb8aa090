"""The filter language as mappings: what ``find`` takes and ``where`` in the project file, read into a condition."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mmmeta.errors import FilterError, near_misses
from mmmeta.filters.conditions import All, AnyOf, Compare, Condition, Not, check_text, compare, type_in_words
from mmmeta.quantities import is_duration

_COMBINATORS = ("$any", "$all", "$not")
_ORDERED = ("<", "<=", ">", ">=", "between")


def parse(where: Mapping[str, Any]) -> Condition:
    """The condition of a ``where`` mapping, as ``find`` and the project file take it.

    ``{key: value}`` asks for equality, ``{key: [values]}`` for one of them, ``{key: {operator: value}}`` for a
    comparison with dataset's operators (of several, all must hold). ``$any: [where, …]``, ``$all: [where, …]`` and
    ``$not: where`` combine; a metadata key that begins with ``$`` is written ``$$…``. ``{ago: 7d}`` as a value is the
    moment seven days before now. Nothing asked is ``All(())``: every file.

    Raises:
        FilterError: an unknown operator or combinator (with the near misses), or a value that cannot be compared so.
    """
    if not isinstance(where, Mapping):
        raise FilterError(f"A filter is a mapping of keys to values, not {type_in_words(where)}: {where!r}.")
    return _all(_parse_entry(key, value) for key, value in where.items())


def _parse_entry(key: Any, value: Any) -> Condition:
    if not isinstance(key, str):
        raise FilterError(f"{key!r} is not a metadata key: keys are text.")
    if key.startswith("$$"):
        return _parse_key(key[1:], value)
    if key == "$not":
        return Not(parse(value))
    if key in ("$any", "$all"):
        if not isinstance(value, (list, tuple)):
            raise FilterError(f"{key} takes a list of filters, not {type_in_words(value)}: {key}: [{{key: value}}, …].")
        parts = [parse(part) for part in value]
        return _all(parts) if key == "$all" else parts[0] if len(parts) == 1 else AnyOf(tuple(parts))
    if key.startswith("$"):
        raise FilterError(
            f"{key!r} is neither $any, $all nor $not.{near_misses(key, _COMBINATORS)} A metadata key that begins with "
            f"$ is written {'$' + key!r}."
        )
    return _parse_key(key, value)


def _parse_key(key: str, value: Any) -> Condition:
    check_text(key, key)
    if isinstance(value, (list, tuple, set, frozenset)):
        return compare(key, "in", value)
    if not isinstance(value, Mapping):
        return compare(key, "=", value)
    if not value:
        raise FilterError(f"{key}: no operator given. Write {{{key}: {{'>=': 10}}}}, or {{{key}: 10}} for equality.")
    return _all(_ordered_by_moments(compare(key, operator, entry)) for operator, entry in value.items())


def _ordered_by_moments(condition: Compare) -> Compare:
    """Refuse ``{">=": "7d"}``: as text it would be compared with dates letter by letter, and the command line means by the
    same words the last seven days."""
    values = condition.value if isinstance(condition.value, tuple) else (condition.value,)
    for value in values:
        if condition.op in _ORDERED and isinstance(value, str) and is_duration(value):
            ends = [f"{{ago: {end}}}" if isinstance(end, str) and is_duration(end) else f"{end}" for end in values]
            right = ends[0] if condition.op != "between" else f"[{', '.join(ends)}]"
            raise FilterError(
                f"{condition.key}: {condition.op} {value!r} would compare text. Write {{ago: {value}}} for the moment that "
                f"long before now: {{{condition.key}: {{{condition.op!r}: {right}}}}}."
            )
    return condition


def _all(conditions: Iterable[Condition]) -> Condition:
    """All of the conditions: nested ``All`` are dissolved, a single one stands for itself."""
    parts: list[Condition] = []
    for condition in conditions:
        parts.extend(condition.parts if isinstance(condition, All) else (condition,))
    return parts[0] if len(parts) == 1 else All(tuple(parts))


def to_where(condition: Condition) -> dict[str, Any]:
    """A mapping that ``parse`` reads as the same condition: what people typed, for ``find`` and ``m.job``."""
    if isinstance(condition, Compare):
        key = f"${condition.key}" if condition.key.startswith("$") else condition.key
        return {key: {condition.op: condition.value}}
    if isinstance(condition, Not):
        return {"$not": to_where(condition.part)}
    parts = [to_where(part) for part in condition.parts]
    return {"$all" if isinstance(condition, All) else "$any": parts}
