"""Which date formats are recognised, and when there is only one way to read them."""

from __future__ import annotations

import pytest

from mmmeta.init.dates import ISO, dates_of


@pytest.mark.parametrize(
    ("texts", "formats"),
    [
        (["31.12.2020", "01.02.2020"], ["%d.%m.%Y"]),
        (["20201231", "20200201"], ["%Y%m%d"]),
        (["2020/12/31"], ["%Y/%m/%d"]),
        (["31/12/2020", "01/02/2020"], ["%d/%m/%Y"]),
        (["12/31/2020", "01/02/2020"], ["%m/%d/%Y"]),
        (["31 Dec 2020"], ["%d %b %Y"]),
        (["December 31, 2020"], ["%B %d, %Y"]),
        (["Thu, 31 Dec 2020 12:00:00 GMT"], ["%a, %d %b %Y %H:%M:%S GMT"]),
        (["31.12.2020 12:30"], ["%d.%m.%Y %H:%M"]),
        (["2020:12:31 12:30:00"], ["%Y:%m:%d %H:%M:%S"]),
    ],
)
def test_a_format_that_is_sure_is_proposed(texts: list[str], formats: list[str]) -> None:
    """A day beyond 12 in one text tells for all of them."""
    dates = dates_of("date", dict.fromkeys(texts, 1))
    assert dates is not None
    assert formats == dates.proposed
    assert dates.is_complete


def test_iso_needs_no_format() -> None:
    """With a time and an offset, too."""
    dates = dates_of("date", dict.fromkeys(["2020-12-31", "2020-12-31T12:00:00Z", "2020-12-31 12:00:00.5+02:00"], 1))
    assert dates is not None
    assert dates.counts == {ISO: 3}
    assert dates.proposed == []


def test_two_ways_to_read_are_said_and_not_proposed() -> None:
    """01/02/2020 beside nothing that tells."""
    dates = dates_of("date", {"01/02/2020": 2, "2020-12-31": 1})
    assert dates is not None
    assert dates.ambiguous == {("%d/%m/%Y", "%m/%d/%Y"): "01/02/2020"}
    assert dates.proposed == []
    assert not dates.is_complete


def test_both_ways_at_once_are_said() -> None:
    """Somebody has pasted two exports into one folder."""
    dates = dates_of("date", {"31/12/2020": 1, "12/31/2020": 1})
    assert dates is not None
    assert dates.contradictory == [("%d/%m/%Y", "%m/%d/%Y")]
    assert dates.proposed == []


def test_what_is_no_date_is_counted() -> None:
    """The rest is a date all the same."""
    dates = dates_of("date", {"31.12.2020": 8, "unknown": 2, "": 3, "31.02.2020": 1})
    assert dates is not None
    assert (dates.unread, dates.unread_example) == (3, "unknown")
    assert dates.proposed == ["%d.%m.%Y"]


@pytest.mark.parametrize(
    ("key", "texts"),
    [
        ("number", ["20201231", "20200201"]),
        ("title", ["May", "Report of 31.12.2020"]),
        ("title", ["31.12.2020", "Report", "Lease"]),
        ("version", ["1.2.3"]),
        ("title", []),
        ("date", ["00000000", "99999999"]),
    ],
)
def test_what_only_looks_like_dates_is_none(key: str, texts: list[str]) -> None:
    """A number of eight digits is a date only where the key's name says so."""
    assert dates_of(key, dict.fromkeys(texts, 1)) is None
