"""Durations and sizes, as filters, rules and options write them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmmeta.errors import QuantityError
from mmmeta.filters import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("15m", 900),
        ("12h", 43200),
        ("7d", 604800),
        ("2w", 1209600),
        ("1h30m", 5400),
        ("0.5h", 1800),
        (60, 60),
    ],
)
def test_durations(text: str | int, seconds: float) -> None:
    """As filters, rules and options write them."""
    assert seconds == parse_duration(text)


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "7 years", "99999999w", -1, True, None, float("nan"), 10**400])
def test_what_is_no_duration(text: Any) -> None:
    """It is a ValueError as well, so that pydantic places it."""
    with pytest.raises(QuantityError) as caught:
        parse_duration(text)
    assert isinstance(caught.value, ValueError)


@given(st.integers(0, 10**9))
def test_duration_in_words_of_whole_seconds(seconds: int) -> None:
    """Words never come out empty and never claim more than the duration."""
    words = format_duration(seconds).split()
    units = {"week": 604800, "day": 86400, "hour": 3600, "minute": 60, "second": 1}
    told = sum(int(words[i]) * units[words[i + 1].rstrip("s")] for i in range(0, len(words), 2))
    assert told <= seconds
    assert seconds - told < max(3600, seconds / 7)


def test_durations_in_words() -> None:
    """At most two units."""
    assert format_duration(604800) == "7 days"
    assert format_duration(5400) == "1 hour 30 minutes"
    assert format_duration(86401) == "1 day"
    assert format_duration(0.25) == "0.25 seconds"
    assert format_duration(4 * 604800) == "4 weeks"


def test_sizes() -> None:
    """In thousands, in 1024 with an ``i``; no digit gets lost."""
    assert parse_size("10GB") == 10**10
    assert parse_size("10 GiB") == 10 * 2**30
    assert parse_size("1.5kB") == 1500
    assert parse_size("9007199254740993") == 9007199254740993
    assert parse_size(42) == 42
    assert format_size(1_200_000) == "1.2 MB"
    assert format_size(1) == "1 byte"


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "10XB", "10iB", True, None, 1.5, -1])
def test_what_is_no_size(text: Any) -> None:
    """Named, with examples of what is one."""
    with pytest.raises(QuantityError):
        parse_size(text)
