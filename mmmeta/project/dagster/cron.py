"""Checks cron schedules before Dagster sees them, so that the message names the field and stands beside a line number.

Five fields with lists, ranges, steps and names, or a word such as ``@hourly``; nothing of what only some crons know.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mmmeta.errors import near_misses

WORDS = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")


@dataclass(frozen=True)
class _Field:
    name: str
    low: int
    high: int
    words: tuple[str, ...] = ()

    def number(self, text: str) -> int:
        """A number or a name of this field."""
        if text.lower() in self.words:
            return self.words.index(text.lower()) + self.low
        if not re.fullmatch(r"[0-9]{1,4}", text):
            raise ValueError(f"{text!r} is not a {self.name}.{near_misses(text.lower(), self.words)}")
        number = int(text)
        if not self.low <= number <= self.high:
            raise ValueError(f"{text} is not a {self.name}: they go from {self.low} to {self.high}")
        return number

    def values(self, text: str) -> set[int]:
        """Every number that one field of a schedule names."""
        found: set[int] = set()
        for entry in text.split(","):
            span, slash, step_text = entry.partition("/")
            if slash and not re.fullmatch(r"[1-9][0-9]{0,3}", step_text):
                raise ValueError(f"{entry!r} in the field for the {self.name}: a step is a number from 1, as in */5")
            if span == "*":
                first, last = self.low, self.high
            elif "-" in span:
                low, _, high = span.partition("-")
                first, last = self.number(low), self.number(high)
                if first > last:
                    raise ValueError(f"{span!r} in the field for the {self.name} runs backwards")
            else:
                first = self.number(span)
                last = self.high if slash else first
            found.update(range(first, last + 1, int(step_text) if slash else 1))
        return found


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of the week", 0, 7, _WEEKDAYS),
)
_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def check_cron(text: str) -> str:
    """The schedule, tidied (one space between fields).

    Raises:
        ValueError: it is not a schedule, or one that never comes; says which field and why.
    """
    if text.strip().startswith("@"):
        word = text.strip().lower()
        if word not in WORDS:
            raise ValueError(f"{text!r} is not a schedule.{near_misses(word, WORDS)} There are {', '.join(WORDS)}")
        return word
    fields = text.split()
    if len(fields) != len(_FIELDS):
        names = ", ".join(field.name for field in _FIELDS)
        raise ValueError(f'a schedule has five fields ({names}), as in "*/15 * * * *"; {text!r} has {len(fields)}')
    # Dagster refuses a day that no such month has, whatever the day of the week is.
    _, _, days, months, _ = (field.values(part) for field, part in zip(_FIELDS, fields, strict=True))
    if min(days) > max(_DAYS[month - 1] for month in months):
        raise ValueError(f"{text!r} never comes: no such month has a day {min(days)}")
    return " ".join(fields)
