"""The tree of a filter: comparisons, and ``All``, ``AnyOf`` and ``Not`` over them, with its one canonical form.

A condition knows nothing of databases and nothing of how it was written: ``mappings`` reads mappings, ``text`` reads
what people type, the catalog's compiler turns the tree into SQL. Types matter as they do in JSON: ``True`` is not ``1``,
and ``"1"`` is not ``1``. Conditions that differ only in the order of their parts are the same condition, so that the
fingerprint of a selection does not depend on how somebody sorted a YAML file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NoReturn

from mmmeta.errors import FilterError, QuantityError, near_misses
from mmmeta.quantities import parse_duration

_SPELLINGS = {
    "=": ("=", "==", "is"),
    "!=": ("!=", "<>", "not"),
    "<": ("<", "lt"),
    "<=": ("<=", "lte"),
    ">": (">", "gt"),
    ">=": (">=", "gte"),
    "in": ("in",),
    "notin": ("notin",),
    "between": ("between", ".."),
    "like": ("like",),
    "notlike": ("notlike",),
    "ilike": ("ilike",),
    "notilike": ("notilike",),
    "startswith": ("startswith",),
    "endswith": ("endswith",),
}
OPERATORS = tuple(_SPELLINGS)
"""The canonical operators; a ``Compare`` has one of these."""

_CANONICAL = {spelling: operator for operator, spellings in _SPELLINGS.items() for spelling in spellings}
_ORDER = frozenset({"<", "<=", ">", ">=", "between"})
_SET = frozenset({"in", "notin"})
_TEXT = frozenset({"like", "notlike", "ilike", "notilike", "startswith", "endswith"})


@dataclass(frozen=True)
class Ago:
    """The moment that lies so many seconds before now; whoever runs the query says what now is."""

    seconds: float


Scalar = None | bool | int | float | str | date | datetime | Ago
Value = Scalar | tuple[Scalar, ...]


class _Node:
    """Equality by canonical form, because Python says ``True == 1 == 1.0`` and the filter language does not."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Node) and _canonical(self) == _canonical(other)

    def __hash__(self) -> int:
        return hash(_canonical(self))


@dataclass(frozen=True, eq=False)
class Compare(_Node):
    """One key against one value.

    Attributes:
        key: the flattened metadata key.
        op: one of ``OPERATORS``.
        value: a tuple for ``in``, ``notin`` (sorted, each once) and ``between`` (two), otherwise a single value.
    """

    key: str
    op: str
    value: Value

    def __post_init__(self) -> None:
        if self.op in _SET and isinstance(self.value, tuple):
            entries = {json.dumps(_value_to_json(value), sort_keys=True): value for value in self.value}
            object.__setattr__(self, "value", tuple(entries[text] for text in sorted(entries)))


@dataclass(frozen=True, eq=False)
class All(_Node):
    """Every part holds; without parts every file is meant. The parts are kept in canonical order."""

    parts: tuple[Condition, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(sorted(self.parts, key=_canonical)))


@dataclass(frozen=True, eq=False)
class AnyOf(_Node):
    """At least one part holds; without parts no file is meant. The parts are kept in canonical order."""

    parts: tuple[Condition, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(sorted(self.parts, key=_canonical)))


@dataclass(frozen=True, eq=False)
class Not(_Node):
    """The part does not hold."""

    part: Condition


Condition = Compare | All | AnyOf | Not


def compare(key: str, operator: Any, value: Any) -> Compare:
    """A checked comparison: the operator in any accepted spelling, the value as Python or YAML gives it.

    Raises:
        FilterError: the operator is unknown, or cannot compare with such a value.
    """
    op = _CANONICAL.get(operator.lower()) if isinstance(operator, str) else None
    if op is None:
        _unknown_operator(key, operator, value)
    if op not in _SET and op != "between":
        return Compare(key, op, _scalar(key, op, value))
    if not isinstance(value, (list, tuple) if op == "between" else (list, tuple, set, frozenset)):
        raise FilterError(f"{key}: {operator} takes a list of values, not {type_in_words(value)}: {value!r}.")
    entries = tuple(_scalar(key, op, entry) for entry in value)
    if op == "between" and len(entries) != 2:
        raise FilterError(f"{key}: between takes two values, the lowest and the highest, not {len(entries)}.")
    return Compare(key, op, entries)


def _unknown_operator(key: str, operator: Any, value: Any) -> NoReturn:
    if operator == "ago":
        raise FilterError(f"{key}: say before or since: {{{key}: {{'>=': {{ago: {value}}}}}}} is the last {value}.")
    turned = str(operator)[::-1]
    hint = f" Did you mean {turned!r}?" if turned in _CANONICAL else near_misses(str(operator), _CANONICAL)
    raise FilterError(
        f"{key}: {operator!r} is not an operator.{hint} There are "
        f"{', '.join(OPERATORS)}. (A nested metadata key is written {key}:{operator}.)"
    )


def _scalar(key: str, op: str, value: Any) -> Scalar:
    """One value, checked against the operator; subclasses (enumerations) become what they hold."""
    if isinstance(value, (Ago, Mapping)):
        value = _ago(key, value)
    if op in _TEXT and not isinstance(value, str):
        raise FilterError(f"{key}: {op} compares with text, not {type_in_words(value)}: {value!r}.")
    if op in _ORDER and (value is None or isinstance(value, bool)):
        raise FilterError(f"{key}: {op} needs something that has an order, not {type_in_words(value)}. Use = or !=.")
    if op not in _ORDER and isinstance(value, Ago):
        raise FilterError(f"{key}: a moment that moves can only be compared with <, <=, >, >= and between, not {op}.")
    if value is None or isinstance(value, (bool, Ago, date)):  # a datetime is a date
        return value
    if isinstance(value, str):
        return check_text(key, str.__str__(value))
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise FilterError(f"{key}: {value!r} is no number that metadata can hold.")
        return float(value)
    raise FilterError(
        f"{key}: cannot compare with {type_in_words(value)}: {value!r}. Use text, numbers, dates, true, false."
    )


def _ago(key: str, value: Ago | Mapping[Any, Any]) -> Ago:
    if isinstance(value, Mapping) and set(value) != {"ago"}:
        raise FilterError(f"{key}: cannot compare with a mapping: {dict(value)!r}. Only {{ago: 7d}} is a value.")
    try:
        return Ago(parse_duration(value.seconds if isinstance(value, Ago) else value["ago"]))
    except QuantityError as error:
        raise QuantityError(f"{key}: {error}") from None


def check_text(key: str, text: str) -> str:
    """The text itself, where it can be encoded.

    Raises:
        FilterError: it holds a lone surrogate, which no metadata can hold.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise FilterError(f"{key!r}: {text!r} is not text: it holds half of a surrogate pair.") from None
    return text


def type_in_words(value: object) -> str:
    """What a value is, for an error message: ``text``, ``a list``, ``an int``."""
    names = {"NoneType": "null", "bool": "true or false", "str": "text", "dict": "a mapping", "list": "a list"}
    name = type(value).__name__
    return names.get(name, f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}")


def walk(condition: Condition) -> Iterator[Compare]:
    """Every comparison of a condition, in canonical order."""
    if isinstance(condition, Compare):
        yield condition
    elif isinstance(condition, Not):
        yield from walk(condition.part)
    else:
        for part in condition.parts:
            yield from walk(part)


def condition_keys(condition: Condition) -> set[str]:
    """The metadata keys that a condition asks for."""
    return {comparison.key for comparison in walk(condition)}


def grows_with_time(condition: Condition) -> bool:
    """Whether a file may enter the selection merely because time passes.

    A file can only leave ``retrieved_at >= 7 days ago`` as time passes; everything else that holds an ``Ago`` (another
    operator, or the same under ``$not``) is taken for growing, so the answer errs on the side of looking again.
    """
    if isinstance(condition, Not):
        return any(_moves(comparison) for comparison in walk(condition))
    if isinstance(condition, Compare):
        return condition.op not in (">", ">=") and _moves(condition)
    return any(grows_with_time(part) for part in condition.parts)


def _moves(comparison: Compare) -> bool:
    values = comparison.value if isinstance(comparison.value, tuple) else (comparison.value,)
    return any(isinstance(value, Ago) for value in values)


def to_json(condition: Condition) -> Any:
    """The canonical JSON form: equal conditions give equal forms, whatever the order of their parts was.

    It survives any JSON library: integers beyond 64 bits, dates and ``Ago`` are tagged objects.
    """
    if isinstance(condition, Compare):
        return [condition.key, condition.op, _value_to_json(condition.value)]
    if isinstance(condition, Not):
        return {"not": to_json(condition.part)}
    return {"all" if isinstance(condition, All) else "any": [to_json(part) for part in condition.parts]}


def from_json(form: Any) -> Condition:
    """The condition of a form that ``to_json`` gave.

    Raises:
        FilterError: the form is something else.
    """
    if isinstance(form, list) and len(form) == 3 and isinstance(form[0], str) and form[1] in OPERATORS:
        value = form[2]
        entries = [_value_from_json(entry) for entry in value] if isinstance(value, list) else _value_from_json(value)
        return compare(form[0], form[1], entries)
    if isinstance(form, dict) and len(form) == 1:
        (name, parts), *_ = form.items()
        if name == "not":
            return Not(from_json(parts))
        if name in ("all", "any") and isinstance(parts, list):
            return (All if name == "all" else AnyOf)(tuple(from_json(part) for part in parts))
    raise FilterError(f"Not a stored filter: {form!r}.")


def _value_to_json(value: Value) -> Any:
    if isinstance(value, tuple):
        return [_value_to_json(entry) for entry in value]
    if isinstance(value, Ago):
        return {"ago": value.seconds}
    if isinstance(value, datetime):
        return {"datetime": value.isoformat()}
    if isinstance(value, date):
        return {"date": value.isoformat()}
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        return {"int": hex(value)}  # str() refuses more than 4,300 digits
    return value


def _value_from_json(form: Any) -> Any:
    if not isinstance(form, dict):
        return form
    name, text = next(iter(form.items()), ("", ""))
    try:
        if name == "ago":
            return Ago(float(text))
        if name == "int":
            return int(text, 16)
        if name in ("date", "datetime"):
            return (date if name == "date" else datetime).fromisoformat(text)
    except (TypeError, ValueError):
        pass
    raise FilterError(f"Not a stored filter value: {form!r}.")


def _canonical(condition: Any) -> str:
    return json.dumps(to_json(condition), sort_keys=True, ensure_ascii=True)
