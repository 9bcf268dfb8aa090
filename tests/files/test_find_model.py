"""find() against a model of its semantics in plain Python: random records, shadows and conditions, on both databases."""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta, timezone
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mmmeta import Metadir
from mmmeta.clock import moment, to_microseconds
from mmmeta.errors import UnknownKeyWarning
from mmmeta.filters import parse
from mmmeta.filters.conditions import All, Compare, Condition, Not

ABSENT = object()
KEYS = ["x", "X", "a:b", "y"]

TEXTS = st.one_of(
    st.sampled_from(["", "1", "contract", "Contract", "[1]", "2026-03-01", "2026-03-01T12:00:00+02:00"]),
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\U0010ffff"), max_size=3),
    st.datetimes(datetime(2026, 2, 27), datetime(2026, 3, 3)).map(lambda moment: moment.isoformat()),
)
NUMBERS = st.one_of(
    st.integers(-3, 3),
    st.sampled_from(
        [0.0, 1.0, 0.5, -2.5, 2**53, 2**53 + 1, float(2**53), 2**63 - 1, -(2**63), 2**63, 2**70, 2**70 + 1]
    ),
    st.floats(allow_nan=False, allow_infinity=False),
)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    NUMBERS,
    TEXTS,
    st.lists(st.integers(0, 1), max_size=2),
    st.just({}),
)
RECORDS = st.lists(st.dictionaries(st.sampled_from(KEYS), VALUES), min_size=1, max_size=6)
DATES = st.one_of(
    st.dates(date(2026, 2, 27), date(2026, 3, 3)),
    st.datetimes(
        datetime(2026, 2, 27), datetime(2026, 3, 3), timezones=st.sampled_from([None, timezone(timedelta(hours=5))])
    ),
)
ORDERED = st.one_of(NUMBERS, TEXTS, DATES)
SCALARS = st.one_of(st.none(), st.booleans(), ORDERED)


def comparisons() -> st.SearchStrategy[dict[str, Any]]:
    """``{operator: value}`` with what the operator takes."""
    patterns = st.text(st.sampled_from("cC1%_-"), max_size=4)
    return st.one_of(
        st.tuples(st.sampled_from(["=", "!="]), SCALARS),
        st.tuples(st.sampled_from(["in", "notin"]), st.lists(SCALARS, max_size=3)),
        st.tuples(st.sampled_from(["<", "<=", ">", ">="]), ORDERED),
        st.tuples(st.just("between"), st.tuples(ORDERED, ORDERED)),
        st.tuples(st.sampled_from(["like", "notlike", "ilike", "notilike"]), patterns),
        st.tuples(st.sampled_from(["startswith", "endswith"]), TEXTS),
    ).map(lambda pair: {pair[0]: pair[1]})


WHERE = st.recursive(
    st.dictionaries(st.sampled_from([*KEYS, "nobody"]), comparisons(), max_size=2),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2).map(lambda parts: {"$any": parts}),
        st.lists(inner, max_size=2).map(lambda parts: {"$all": parts}),
        inner.map(lambda part: {"$not": part}),
    ),
    max_leaves=4,
)


# The model


def holds(condition: Condition, record: Mapping[str, Any]) -> bool:
    """Whether a condition holds for a record."""
    if isinstance(condition, Compare):
        return compare(record.get(condition.key, ABSENT), condition.op, condition.value)
    if isinstance(condition, Not):
        return not holds(condition.part, record)
    parts = [holds(part, record) for part in condition.parts]
    return all(parts) if isinstance(condition, All) else any(parts)


def compare(cell: Any, op: str, value: Any) -> bool:
    """One comparison: by type, and what is absent counts only against None, True and False."""
    if op == "in":
        return any(equal(cell, one) for one in value)
    if op in ("!=", "notin"):
        unwanted = value if op == "notin" else (value,)
        counts = cell not in (ABSENT, None) or (cell is ABSENT and any(type(one) is bool for one in unwanted))
        return counts and not any(equal(cell, one) for one in unwanted)
    if op == "=":
        return equal(cell, value)
    if op == "between":
        return ordered(cell, ">=", value[0]) and ordered(cell, "<=", value[1])
    if op in ("<", "<=", ">", ">="):
        return ordered(cell, op, value)
    if not isinstance(cell, str):
        return False
    if op == "startswith":
        return ascii_lower(cell).startswith(ascii_lower(value))
    if op == "endswith":
        return ascii_lower(cell).endswith(ascii_lower(value))
    pattern = "".join({"%": ".*", "_": "."}.get(letter, re.escape(letter)) for letter in ascii_lower(value))
    matches = re.fullmatch(pattern, ascii_lower(cell), re.DOTALL)
    return (matches is None) == op.startswith("not")


def ascii_lower(text: str) -> str:
    return "".join(letter.lower() if letter.isascii() else letter for letter in text)


def equal(cell: Any, value: Any) -> bool:
    if value is None:
        return cell is None or cell is ABSENT
    if type(value) is bool:
        return cell is value or (cell is ABSENT and value is False)
    if isinstance(value, date):
        return dated(cell, "=", value)
    if isinstance(value, str):
        return isinstance(cell, str) and cell == value
    return is_number(cell) and bool(cell == value)


OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: bool(a == b),
    "<": lambda a, b: bool(a < b),
    "<=": lambda a, b: bool(a <= b),
    ">": lambda a, b: bool(a > b),
    ">=": lambda a, b: bool(a >= b),
}


def ordered(cell: Any, op: str, value: Any) -> bool:
    if isinstance(value, date):
        return dated(cell, op, value)
    if isinstance(value, str):
        return isinstance(cell, str) and OPERATORS[op](cell.encode(), value.encode())
    return is_number(cell) and OPERATORS[op](rounded(cell), rounded(value))


def is_number(cell: Any) -> bool:
    return type(cell) in (int, float)


def rounded(number: int | float) -> int | float:
    """Integers over 64 bits have an order only as floats."""
    return number if type(number) is float or -(2**63) <= number < 2**63 else float(number)


def dated(cell: Any, op: str, value: date) -> bool:
    if not isinstance(cell, str) or not re.match(r"\d{4}-\d\d-\d\d($|[T ])", cell):
        return False
    if not isinstance(value, datetime):
        return OPERATORS[op](cell[:10], value.isoformat())
    at = moment(cell)
    assert at is not None
    return OPERATORS[op](at, to_microseconds(value))


# The tests


def names_of(metadir: Metadir, where: dict[str, Any]) -> set[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnknownKeyWarning)
        return {file.unique_value for file in metadir.files.find(where)}


def check(metadir: Metadir, records: Mapping[str, Mapping[str, Any]], wheres: list[dict[str, Any]]) -> None:
    assert {file.unique_value: dict(file) for file in metadir.files} == records
    for where in wheres:
        condition = parse(where)
        expected = {name for name, record in records.items() if holds(condition, record)}
        assert expected == names_of(metadir, where), where
        assert set(records) - expected == names_of(metadir, {"$not": where}), where


@given(records=RECORDS, local=RECORDS, wheres=st.lists(WHERE, min_size=5, max_size=12), shared=st.booleans())
def test_find_agrees_with_the_model(
    records: list[dict[str, Any]], local: list[dict[str, Any]], wheres: list[dict[str, Any]], shared: bool
) -> None:
    """On meta.db, on the state db, with the client's columns over it, and for keys that share a column."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", UnknownKeyWarning)
        with Metadir(folder) as metadir:
            remote = {f"{number}": {"content_hash": f"{number}", **r} for number, r in enumerate(records)}
            if shared:
                from mmmeta.catalog import columns as schema

                limits = dict(schema.COLUMN_LIMIT)
                schema.COLUMN_LIMIT.update(remote=2, client=1)
            try:
                metadir.files.insert_many(remote.values())
                check(metadir, remote, wheres)
                metadir.update()
                check(metadir, remote, wheres)
                for number, values in enumerate(local):
                    file = metadir.files.get(str(number))
                    if file is not None:
                        file.update(values)
                        file.save()
                        remote[str(number)] = {**remote[str(number)], **values}
                check(metadir, remote, wheres)
            finally:
                if shared:
                    schema.COLUMN_LIMIT.update(limits)
