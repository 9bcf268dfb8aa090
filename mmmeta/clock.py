"""The time, handed in: whoever needs it takes a ``Clock``, so that a test can stand still or run ahead.

Internally every time is aware UTC. Nothing orders data by it: revisions do that.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

Clock = Callable[[], datetime]
"""Gives the current time as aware UTC."""


def utcnow() -> datetime:
    """The current time as aware UTC."""
    return datetime.now(timezone.utc)


def to_text(moment: datetime) -> str:
    """ISO 8601 in UTC with microseconds, so that texts sort as the moments do."""
    return moment.astimezone(timezone.utc).isoformat(timespec="microseconds")


def from_text(text: str) -> datetime:
    """The aware UTC moment of a text that ``to_text`` wrote."""
    return datetime.fromisoformat(text).astimezone(timezone.utc)


_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?(?:([Zz])|([+-])(\d\d):?(\d\d))?)?",
    re.ASCII,
)


def moment(text: object) -> int | None:
    """An ISO 8601 text as microseconds since 1970, None for anything else; a text without offset counts as UTC.

    Written by hand because ``datetime.fromisoformat`` accepts other texts in each Python version. In SQL it is
    ``mmmeta_moment(text)``.
    """
    if type(text) is not str or (match := _ISO.fullmatch(text)) is None:
        return None
    year, month, day, hour, minute, second, fraction, _, sign, offset_hours, offset_minutes = match.groups()
    try:
        parsed = datetime(int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0))
    except ValueError:
        return None
    parsed = parsed.replace(microsecond=int((fraction or "0").ljust(6, "0")[:6]))
    result = to_microseconds(parsed)
    if sign is not None:
        offset = (int(offset_hours) * 60 + int(offset_minutes)) * 60_000_000
        result += offset if sign == "-" else -offset
    return result


def to_microseconds(parsed: datetime) -> int:
    """A datetime as microseconds since 1970; one without time zone counts as UTC."""
    aware = parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=timezone.utc)
    return (aware - _EPOCH) // timedelta(microseconds=1)
