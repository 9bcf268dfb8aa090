"""Parsing, flattening and cells."""

from __future__ import annotations

import enum
import json
from datetime import date, datetime
from typing import Any

import pytest

from mmmeta.errors import ValueNotSupportedError
from mmmeta.values import (
    clean,
    default_kind,
    flatten,
    from_cell,
    kind_of,
    parse_json,
    parse_marks,
    to_cell,
    write_marks,
)


def same(left: Any, right: Any) -> bool:
    """Equal in value and type, also within lists and objects."""
    return repr(left) == repr(right)


def test_nested_objects_are_joined_with_colons() -> None:
    """Lists and empty objects stay values."""
    assert flatten({"a": {"b": {"c": 1}, "d": []}, "e": {}}).values == {"a:b:c": 1, "a:d": [], "e": {}}


@pytest.mark.parametrize(
    "record",
    [{"a:b": "flat", "a": {"b": "nested"}}, {"a": {"b": "nested"}, "a:b": "flat"}],
)
def test_of_two_values_with_one_key_the_nested_wins(record: dict[str, Any]) -> None:
    """Whichever stands first; the clash is named."""
    flat = flatten(record)
    assert flat.values == {"a:b": "nested"}
    assert flat.clashes == ("a:b",)


def test_objects_nested_deeper_than_the_stack_are_flattened() -> None:
    """The parser's own limit is the only one."""
    raw = b'{"a":' * 1_000 + b"1" + b"}" * 1_000
    assert parse_json(raw).values == {":".join("a" * 1_000): 1}


@pytest.mark.parametrize(
    "number",
    [2**63, -(2**63) - 1, 2**64 - 1, 2**64, 10**30, -(10**300), 10**400],
    ids=lambda number: f"{str(number)[:6]}-{len(str(number))}",
)
def test_integers_beyond_64_bits_keep_their_digits(number: int) -> None:
    """Beside them floats stay floats, also in lists."""
    values = parse_json(json.dumps({"n": number, "f": 1e300, "l": [number, 1.0]}).encode()).values
    assert same(values, {"n": number, "f": 1e300, "l": [number, 1.0]})


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b'{"a": ', "not valid JSON"),
        (b"[1]", "a list, not an object"),
        (b"null", "null, not an object"),
        (b'"x"', "a text, not an object"),
        (b"1", "a number, not an object"),
        (b'{"a": NaN}', "NaN is not a JSON number"),
        (b'{"a": -Infinity}', "-Infinity is not a JSON number"),
        (b'{"a": 1e400}', "infinity"),
        (b'{"a": 1' + b"0" * 4_300 + b"}", "a number cannot be read"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b'{"a": "\xff"}', "UTF-8"),
        (b'\xff\xfe{\x00"\x00', "not valid JSON"),
        (b'{"a": 1} x', "not valid JSON"),
        (b'{"a": 1}\n{"a": 2}\n', r"JSON Lines: call it \*\.jsonl"),
        (b'{"a": 1}\r\n\r\n{"a": 2', r"JSON Lines: call it \*\.jsonl"),
        (b'[{"a": 1}, {"a": 2}]', r"a record a line, in a \*\.jsonl"),
    ],
)
def test_what_is_not_a_metadata_file_says_why(raw: bytes, reason: str) -> None:
    """One error with the reason."""
    with pytest.raises(ValueNotSupportedError, match=reason):
        parse_json(raw)


@pytest.mark.parametrize("raw", [b'{"a": 1} {"a": 2}', b"[1]", b"[]", b'{"a":\n1}\nx', b"1\n2\n"])
def test_what_is_no_list_of_records_is_not_taken_for_one(raw: bytes) -> None:
    """The remedy would not help."""
    with pytest.raises(ValueNotSupportedError) as caught:
        parse_json(raw)
    assert "jsonl" not in str(caught.value)


def test_a_byte_order_mark_is_passed_over() -> None:
    """Editors on Windows write one."""
    assert parse_json(b'\xef\xbb\xbf{"a": 1}').values == {"a": 1}


class Kind(str, enum.Enum):
    """A text that prints as something else."""

    CONTRACT = "contract"


def test_python_values_become_json_types() -> None:
    """Dates as ISO text, sets and tuples as lists, texts that are Enums as their value."""
    record = {
        "when": datetime(2026, 3, 1, 12, 0),
        "day": date(2026, 3, 1),
        "tuple": (1, 2.0),
        "set": {3},
        "kind": Kind.CONTRACT,
        "nested": {"a": {"b": [True, None]}},
    }
    expected = {
        "when": "2026-03-01T12:00:00",
        "day": "2026-03-01",
        "tuple": [1, 2.0],
        "set": [3],
        "kind": "contract",
        "nested": {"a": {"b": [True, None]}},
    }
    assert same(clean(record), expected)
    assert type(clean(record)["kind"]) is str


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (float("nan"), "a"),
        (float("inf"), "a"),
        (b"bytes", "a"),
        (1 + 2j, "a"),
        ("\ud800", "a"),
        ({1: 2}, "1"),
        ({"b": float("nan")}, "a:b"),
        pytest.param(10**4_300, "a", id="endless"),
    ],
    ids=repr,
)
def test_values_that_json_cannot_carry_are_refused_by_name(value: Any, key: str) -> None:
    """The message names the key."""
    with pytest.raises(ValueNotSupportedError, match=key):
        clean({"a": value})


def test_a_list_that_holds_itself_is_refused() -> None:
    """And not followed for ever."""
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValueNotSupportedError, match="nested"):
        clean({"a": endless})


def test_cleaning_nested_dicts_takes_time_in_proportion() -> None:
    """Each level once: at 100 levels anything else would not end."""
    record: dict[str, Any] = {}
    for _ in range(100):
        record = {"a": record}
    assert clean(record) == record


@pytest.mark.parametrize(
    "value",
    [True, False, 0, 1, 2**63 - 1, -(2**63), 2**63, 10**40, 0.0, -0.0, 1.5, "", "x", "1", "[]", None, [], {}, [{}]],
)
@pytest.mark.parametrize("usual", ["s", "i", "f", "b", "I", "j", None])
def test_a_cell_with_its_kind_gives_the_value_back(value: Any, usual: str | None) -> None:
    """The kind that an unmarked cell has is the value's own, or it must be marked."""
    kind = kind_of(value)
    cell = to_cell(value, kind)
    assert same(from_cell(cell, kind), value)
    if default_kind(cell, usual) == kind:
        assert same(from_cell(cell, default_kind(cell, usual)), value)


def test_marks_are_read_as_they_were_written() -> None:
    """None where there are none."""
    assert parse_marks(write_marks({12: "j", 3: "n"})) == {3: "n", 12: "j"}
    assert write_marks({}) is None
    assert parse_marks(None) == {}
