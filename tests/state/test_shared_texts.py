"""What PostgreSQL gets of values: keys that order as SQLite orders, and arrays; no server is needed for it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmmeta.state.ledger.postgresql.texts import kept, sort_key, sort_value, why_unfit
from mmmeta.target.postgresql import array

INTEGERS = st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3) | st.integers(2**53 - 3, 2**53 + 3)
VALUES = (
    st.none() | INTEGERS | st.floats(allow_nan=False) | st.text(st.characters(blacklist_categories=["Cs"]), max_size=20)
)


@given(st.lists(VALUES, min_size=2, max_size=6))
def test_keys_order_as_sqlite_orders(values: list[Any]) -> None:
    """Whatever path a value takes; and a whole number comes back from its key."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE t (number INTEGER PRIMARY KEY, value)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", list(enumerate(values)))
        expected = connection.execute("SELECT number FROM t ORDER BY value, number").fetchall()
    assert sorted(range(len(values)), key=lambda at: (sort_key(values[at]), at)) == [number for (number,) in expected]
    assert all(sort_value(sort_key(value)) == value for value in values if isinstance(value, int))


@pytest.mark.parametrize(
    ("cells", "text"),
    [
        ([], "{}"),
        (["a", "NULL", "", "ä, {b}"], '{"a","NULL","","ä, {b}"}'),
        (["a", 'b"', "c\\"], '{"a","b\\"","c\\\\"}'),
        (["a", None], '{"a",NULL}'),
        ([1, None, -(2**63)], "{1,NULL,-9223372036854775808}"),
        ([True, False], "{True,False}"),
        ([b"\x00\xff"], '{"\\\\x00ff"}'),
        ([1.5, 1e300], "{1.5,1e+300}"),
    ],
)
def test_arrays_as_postgresql_reads_them(cells: list[Any], text: str) -> None:
    """Texts in quotes, with what ends them escaped; nothing is NULL."""
    assert array(cells) == text


def test_plain_texts_stay_and_others_are_escaped() -> None:
    """What PostgreSQL refuses; names are told why."""
    assert [kept("plain"), kept("ä"), kept("a\0"), kept("\ud800"), kept(None)] == [
        "plain",
        "ä",
        "a\\x00",
        "\\ud800",
        None,
    ]
    assert why_unfit("a" * 2_000) is None
    for name in ("a\0", "a" * 2_001, "ä" * 1_001, "\ud800"):
        assert why_unfit(name) is not None
