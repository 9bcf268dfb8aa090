"""Cron schedules: those that Dagster takes, and a word about those that it would not."""

from __future__ import annotations

import re

import pytest

from mmmeta.project.dagster.cron import check_cron

GOOD = ["* * * * *", "*/15 * * * *", "0 3 * * 1-5", "0,30 8-18/2 1,15 jan-jun mon,FRI", "5 4 31 1,2 *", "0 0 29 2 *"]


@pytest.mark.parametrize("text", [*GOOD, "@hourly", "@daily", "0 0 * * 7", "5/10 * * * *", "59 23 31 12 6"])
def test_a_schedule_stays_as_it_is(text: str) -> None:
    """Lists, ranges, steps, names and words."""
    assert check_cron(text) == text


def test_a_schedule_is_tidied() -> None:
    """Spaces and the case of words do not matter."""
    assert check_cron("  0   3\t* * *\n") == "0 3 * * *"
    assert check_cron(" @Hourly") == "@hourly"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has 0"),
        ("* * * *", "has 4"),
        ("0 0 * * * *", "has 6"),
        ("60 * * * *", "60 is not a minute: they go from 0 to 59"),
        ("* 24 * * *", "24 is not"),
        ("* * 0 * *", "day of the month"),
        ("* * * 13 *", "month: they go from 1 to 12"),
        ("* * * * 8", "day of the week"),
        ("* * * * mno", "Did you mean 'mon'?"),
        ("*/0 * * * *", "a step is a number from 1"),
        ("*/x * * * *", "a step is a number from 1"),
        ("61/10 * * * *", "61 is not a minute"),
        ("0 0 31 2 mon", "never comes"),
        ("30-10 * * * *", "runs backwards"),
        ("1,,2 * * * *", "is not a minute"),
        ("-1 * * * *", "is not a minute"),
        ("1- * * * *", "is not a minute"),
        ("٣ * * * *", "is not a minute"),
        ("@hourli", "Did you mean '@hourly'"),
        ("@reboot", "There are @hourly"),
        ("0 0 31 2 *", "never comes"),
        ("0 0 31 4,6 *", "never comes"),
    ],
)
def test_what_is_no_schedule_says_which_field_and_why(text: str, reason: str) -> None:
    """Before Dagster meets it."""
    with pytest.raises(ValueError, match=re.escape(reason)):
        check_cron(text)
