"""A batch is bound as its values are one by one, and asks for the columns that they ask for one by one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mmmeta.target.cells import TOGETHER, bind
from mmmeta.target.columns import (
    TargetColumn,
    TargetColumns,
    WantedColumns,
    column_kind,
    driver_value,
    kind_of_all,
    wider,
)
from mmmeta.target.names import OVERFLOW, TableName

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=-(2**66), max_value=2**66),
    st.sampled_from([2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec=None), max_size=4),
    st.sampled_from(["\0", "a\0b", "\ud800", ""]),
    st.lists(st.integers(), max_size=2),
    st.lists(st.just("\ud800"), max_size=1),
    st.dictionaries(st.text(max_size=2), st.none(), max_size=1),
    st.binary(max_size=3),
)


def columns(dialect: str, *kinds: str, overflow: bool = False, fixed: bool = False) -> TargetColumns:
    by_key = {f"k{at}": TargetColumn(f"k{at}", f"k{at}", kind) for at, kind in enumerate(kinds)}
    return TargetColumns(
        dialect,
        TableName(None, "t"),
        TargetColumn("id", "id", "unique"),
        by_key,
        frozenset({OVERFLOW} if overflow else ()),
        1,
        WantedColumns("id"),
        fixed=dict.fromkeys(by_key, "a view") if fixed else {},
    )


def alone(value: Any, kind: str, dialect: str) -> tuple[Any, str | None]:
    """What becomes of one value, or why nothing does."""
    try:
        return None if value is None else driver_value(value, kind, dialect), None
    except (TypeError, ValueError) as error:
        return None, f"k0: {value!r:.60}: {error}"


@given(
    values=st.lists(VALUES, max_size=6),
    kind=st.sampled_from(["any", "boolean", "integer", "float", "number", "text", "null", "bytes", "own"]),
    dialect=st.sampled_from(["sqlite", "postgresql", "mysql"]),
    often=st.sampled_from([1, TOGETHER]),
)
def test_a_column_is_bound_as_its_values_are(values: list[Any], kind: str, dialect: str, often: int) -> None:
    """What a column holds together with others is what ``driver_value`` makes of it alone, type and all."""
    assume(kind != "number" or not any(isinstance(value, bool) for value in values))  # the column is widened before
    there = columns(dialect, kind)
    values = values * often
    names = [str(at) for at in range(len(values))]
    bound, failed = bind(there, names, [{"k0": value} for value in values])
    for name, value in zip(names, values, strict=True):
        expected, reason = alone(value, kind, dialect)
        assert failed.get(name) == reason
        assert (repr(bound[name]) if name in bound else None) == (None if reason else repr((name, expected)))
    assert len(bound) + len(failed) == len(values)


@given(values=st.lists(VALUES.filter(lambda value: not isinstance(value, bytes)), max_size=8))
def test_a_column_has_the_kind_that_its_values_have_one_by_one(values: list[Any]) -> None:
    kind = None
    for value in values:
        kind = kind if value is None else wider(kind, column_kind(value))
    assert kind_of_all(values) == kind


def test_absent_keys_are_null_and_others_overflow() -> None:
    there = columns("sqlite", "any", "any", overflow=True)
    bound, failed = bind(there, ["a", "b", "c"], [{"k1": 1, "more": [1]}, {}, {"bad": "\ud800", "id": "c"}])
    assert bound == {"a": ("a", None, 1, '{"more":[1]}'), "b": ("b", None, None, None)}
    assert list(failed) == ["c"]


@pytest.mark.parametrize(("value", "fails"), [(1, False), ("x", True)])
def test_what_a_fixed_column_cannot_hold_fails_alone(value: Any, fails: bool) -> None:
    bound, failed = bind(columns("postgresql", "integer", fixed=True), ["a", "b"], [{"k0": 1}, {"k0": value}])
    assert ("a" in bound, "b" in failed) == (True, fails)


def test_an_id_that_does_not_fit_fails_alone() -> None:
    bound, failed = bind(columns("postgresql", "text"), ["a\0", "b"], [{"k0": "\ud800"}, {}])
    assert bound == {"b": ("b", None)}
    assert "NUL" in failed["a\0"]
