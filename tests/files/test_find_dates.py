"""find(): dates as moments; a date is every moment of its day."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from archives import fill, opened
from found import found, names

from mmmeta import Metadir

DATES: dict[str, Any] = {
    "a": "2026-03-01",
    "b": "2026-03-01T00:00:00",
    "c": "2026-03-01T23:59:59.999999Z",
    "d": "2026-03-02T00:30:00+02:00",
    "e": "2026-02-28 23:30:00",
    "f": "2026-03-02",
    "g": "2026-03-01abc",
    "h": "last Sunday",
    "i": 20260301,
    "j": "2026-03-01T12:00:00.123456789+05:30",
    "k": None,
    "l": "2026-03-01T12:00",
    "m": "20260301",
}


@pytest.fixture(scope="module", params=[False, True], ids=["meta.db", "state.db"])
def dated(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Metadir]:
    """Files a to m with the values of DATES under ``x``; only to be read."""
    with opened(tmp_path_factory.mktemp("dated"), state=request.param) as metadir:
        fill(metadir, **DATES)
        yield metadir


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (date(2026, 3, 1), "abcjl"),
        ({"!=": date(2026, 3, 1)}, "defghim"),
        ({">=": date(2026, 3, 1)}, "abcdfjl"),
        ({">": date(2026, 3, 1)}, "df"),
        ({"<": date(2026, 3, 1)}, "e"),
        ({"<=": date(2026, 3, 1)}, "abcejl"),
        ({"between": [date(2026, 3, 1), date(2026, 3, 1)]}, "abcjl"),
        ({"in": [date(2026, 2, 28), date(2026, 3, 2)]}, "def"),
        (datetime(2026, 3, 1), "ab"),
        (datetime(2026, 3, 1, 12), "l"),
        (datetime(2026, 3, 1, 22, 30, tzinfo=timezone.utc), "d"),
        (datetime(2026, 3, 2, 0, 30, tzinfo=timezone(timedelta(hours=2))), "d"),
        (datetime(2026, 3, 1, 6, 30, 0, 123456, tzinfo=timezone.utc), "j"),
        ({">": datetime(2026, 3, 1, 22, 30)}, "cf"),
        ({">=": datetime(2026, 3, 1, 22, 30)}, "cdf"),
        ({"<": datetime(2026, 3, 1)}, "e"),
        ({"<=": datetime(2026, 3, 1, 6, 30)}, "abe"),
        ({"<": datetime(2026, 3, 1, 6, 30, 1)}, "abej"),
        ({">": datetime(2026, 3, 1, 23, 59, 59, 999998)}, "cf"),
        ({">": date.min}, "abcdefjl"),
        ({"<=": date.max}, "abcdefjl"),
        ({">": datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))}, "abcdefjl"),
        ({"<": datetime.max.replace(tzinfo=timezone(timedelta(hours=-12)))}, "abcdefjl"),
        ("2026-03-01", "a"),
        ({">=": "2026-03-02"}, "dfhm"),
    ],
)
def test_dates(dated: Metadir, value: Any, expected: str) -> None:
    """A date is every moment of the day as written; a datetime is a moment, UTC where no offset says otherwise."""
    assert expected == found(dated, value)


def test_ago(tmp_path: Path) -> None:
    """{ago: …} counts from the metadir's clock at the moment of the query."""
    now = datetime(2026, 3, 8, 12, tzinfo=timezone.utc)
    with Metadir(tmp_path, clock=lambda: now) as metadir:
        for name, at in [("a", "2026-03-01T11:59:59Z"), ("b", "2026-03-01T12:00:00Z"), ("c", "2026-03-09")]:
            metadir.files.insert(content_hash=name, x=at)
        assert names(metadir, x={">=": {"ago": "7d"}}) == "bc"
        assert names(metadir, x={"<": {"ago": "7d"}}) == "a"
        assert names(metadir, x={"between": [{"ago": "7d"}, {"ago": "0s"}]}) == "b"
