"""Values of the store: what is written reads back the same, and what a person types means what it says."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mmmeta.errors import StoreValueError
from mmmeta.layout import Layout
from mmmeta.store.store import Store
from mmmeta.store.text import LONGEST_INTEGER, decode, encode

UTC = timezone.utc
BERLIN_ZONE = "CET-1CEST,M3.5.0,M10.5.0/3"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout.at(tmp_path)


@pytest.fixture
def store(layout: Layout) -> Store:
    return Store(layout)


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Local time as in Berlin, given by its rule, so that no time zone database is needed."""
    monkeypatch.setenv("TZ", BERLIN_ZONE)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def put(layout: Layout, key: str, content: bytes) -> Path:
    """A file as a sync tool or a person leaves it."""
    path = layout.store / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


VALUES = [0, -1, 2**80, 10**LONGEST_INTEGER - 1, 0.0, 1.5, -2.5e-300, 1e22, 5e-324, "", "text", "00123", "1", "1.5"]
VALUES += [
    "1_000",
    " 5 ",
    "５",
    "nan",
    "inf",
    "-Infinity",
    "true",
    "null",
    '"',
    '"quoted"',
    "a\nb",
    "a\n",
    "\n",
    "\r\n",
]
VALUES += [
    "ümlaut 日本",
    "\x00",
    "\ufeff1",
    "\u2028",
    "2024-05-01",
    "2024-05-01T10:00:00",
    "2024-05-01 10:00Z",
    "\ud800",
]
VALUES += [
    " leading",
    "trailing ",
    "x" * 3_000_000,
    "9" * 5000,
    "1e999",
    "-0",
    "+5",
    "0x10",
    "{}",
    datetime(2024, 5, 1, 12),
]
VALUES += [datetime.min, datetime.max, datetime(1890, 1, 1, 3, 4, 5, 6), datetime(2024, 5, 1, 12, 0, 0, 999999)]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:30])
@pytest.mark.parametrize("key", ["key", "key_last_updated", "local_key"])
def test_a_value_reads_back_equal_and_of_the_same_type(store: Store, key: str, value: Any) -> None:
    """int, float, datetime and str survive, whatever their text looks like."""
    store[key] = value
    assert value == store[key]
    assert type(value) is type(store[key])
    assert key in store


def test_negative_zero_keeps_its_sign(store: Store) -> None:
    """Equality does not see it, so it is checked apart."""
    store["x"] = -0.0
    assert math.copysign(1, store["x"]) == -1


NAIVE = st.datetimes()
AWARE = st.datetimes(
    min_value=datetime(2, 1, 1),
    max_value=datetime(9998, 12, 31),
    timezones=st.builds(timezone, st.timedeltas(timedelta(hours=-23), timedelta(hours=23))),
)
INTEGERS = st.integers() | st.integers(min_value=-(10**LONGEST_INTEGER) + 1, max_value=10**LONGEST_INTEGER - 1)
NUMBERS = INTEGERS | st.floats(allow_nan=False, allow_infinity=False)
LOOKS_LIKE = st.one_of(
    NUMBERS.map(str),
    NAIVE.map(str),
    NAIVE.map(datetime.isoformat),
    AWARE.map(datetime.isoformat),
    st.from_regex(r"\s*[-+]?[0-9_]{0,4}[.eE]?[0-9]{0,3}\s*", fullmatch=True),
    st.from_regex(r'"[a\\"n]{0,4}"?\n?', fullmatch=True),
)


@given(NUMBERS | st.text() | LOOKS_LIKE | NAIVE, st.sampled_from(["key", "key_last_updated"]))
@example("1\n", "key")
@example("1\r\n", "key")
def test_any_text_form_is_reversible(value: Any, key: str) -> None:
    """The property behind the store: encode, then decode, is the identity in value and type."""
    back = decode(encode(key, value).encode().decode())
    assert value == back
    assert type(value) is type(back)


@given(AWARE)
def test_an_aware_datetime_reads_back_as_the_same_moment_in_naive_local_time(value: datetime) -> None:
    """The moment survives, its time zone does not."""
    back = decode(encode("key", value))
    assert value.astimezone().replace(tzinfo=None) == back


@given(st.text() | st.binary().map(lambda data: data.decode(errors="replace")))
@settings(max_examples=300)
def test_decoding_never_fails(text: str) -> None:
    """Whatever a sync left there reads as something."""
    assert type(decode(text)) in (int, float, str, datetime)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"5\n", 5),
        (b"5\r\n", 5),
        (b"5", 5),
        (b" 5", " 5"),
        (b"5\n\n", "5\n"),
        (b"1_000", "1_000"),
        (b"00123", "00123"),
        ("５".encode(), "５"),
        (b"1.50", 1.5),
        (b"1e3", 1000.0),
        (b"1e999", "1e999"),
        (b".5", ".5"),
        (b"nan", "nan"),
        (b'"5"\n', "5"),
        (b'"5', '"5'),
        (b"[1]", "[1]"),
        (b"", ""),
        (b"two\nlines\n", "two\nlines"),
        (b"2024-05-01", "2024-05-01"),
        (b"2024-05-01T10:30", datetime(2024, 5, 1, 10, 30)),
        (b"2024-05-01 10:30:01.5", datetime(2024, 5, 1, 10, 30, 1, 500000)),
        (b"2024-05-01T10:30:00Z", datetime(2024, 5, 1, 12, 30)),
        (b"2024-05-01T10:30:00+0200\n", datetime(2024, 5, 1, 10, 30)),
        (b"2024-05-01T10:30:00.123456789+00:00", datetime(2024, 5, 1, 12, 30, 0, 123456)),
        (b"2024-13-01T10:30:00Z", "2024-13-01T10:30:00Z"),
        (b"2024-05-01T10:30:00+99:00", "2024-05-01T10:30:00+99:00"),
        (b"0001-01-01T00:00:00+05:00", datetime.min),
        (b"9999-12-31T23:59:59+00:00", datetime.max),
        (b"\xff\xfe\x00", "\ufffd\ufffd\x00"),
    ],
)
@pytest.mark.usefixtures("berlin")
def test_a_file_written_by_hand_reads_as_its_text_says(
    layout: Layout, store: Store, content: bytes, expected: Any
) -> None:
    """Strictly: one line end is dropped, and only plain ASCII digits are numbers."""
    put(layout, "key", content)
    assert expected == store["key"]
    assert type(expected) is type(store["key"])


@pytest.mark.parametrize(
    "value",
    [True, False, None, math.nan, math.inf, -math.inf, date(2024, 5, 1), b"x", [1], {"a": 1}, 10**LONGEST_INTEGER],
    ids=repr,
)
def test_what_cannot_be_kept_is_refused(store: Store, value: Any) -> None:
    """With an error that names the key, and nothing written."""
    with pytest.raises(StoreValueError, match="some_key"):
        store["some_key"] = value
    assert "some_key" not in store


def test_an_aware_datetime_outside_the_calendar_is_refused(store: Store) -> None:
    """There is no UTC form of it."""
    with pytest.raises(StoreValueError, match="years 1 to 9999"):
        store["x"] = datetime.min.replace(tzinfo=timezone(timedelta(hours=5)))


def test_enumerations_are_kept_as_what_they_hold(store: Store) -> None:
    """Subclasses of int and str read back as plain values."""

    class Number(int):
        def __str__(self) -> str:
            return "nonsense"

    class Text(str):
        def __str__(self) -> str:
            return "nonsense"

    store["a"], store["b"] = Number(5), Text("05")
    assert store["a"] == 5
    assert store["b"] == "05"
