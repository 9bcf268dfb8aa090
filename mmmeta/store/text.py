"""Values of the store as text, and back: what a text says is what it reads as.

Reading is strict: ASCII digits without leading zeros, underscores or spaces are a number, everything in doubt is text.
Writing is careful: text that this reader or a less strict one would take for something else is put in quotes.
"""

from __future__ import annotations

import json
import math
import re
from datetime import datetime, timedelta, timezone

from mmmeta.clock import to_text
from mmmeta.errors import StoreValueError

StoreValue = int | float | datetime | str

UPDATED_SUFFIX = "_last_updated"
"""Keys that end so are timestamps; one that was never set is ``datetime.min``, so that ``>`` works on the first day."""

LONGEST_INTEGER = 600
"""Digits. Python itself refuses to read much longer ones (640 at its strictest setting)."""

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_TIMESTAMP = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?"
    r"(?:(Z)|([+-][0-9]{2}):?([0-9]{2}))?"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def encode(key: str, value: object) -> str:
    """The text that a value is kept as; ``decode`` gives it back.

    Raises:
        StoreValueError: it is of another type, or not finite, or too long a number.
    """
    if isinstance(value, str):
        return _encode_text(str.__str__(value), always=key.endswith(UPDATED_SUFFIX))
    if isinstance(value, bool):
        raise StoreValueError(f"store[{key!r}] = {value!r}: true and false are not kept. Use 1 and 0, or a word.")
    if value is None:
        raise StoreValueError(f"store[{key!r}] = None: nothing cannot be kept. Use del store[{key!r}].")
    if isinstance(value, int):
        number = int(value)
        # Compared as a number: turning it into text is what Python refuses.
        if abs(number) >= 10**LONGEST_INTEGER:
            raise StoreValueError(f"store[{key!r}]: an integer of more than {LONGEST_INTEGER} digits. Keep it as text.")
        return format(number, "d")
    if isinstance(value, float):
        if not math.isfinite(value):
            raise StoreValueError(f"store[{key!r}] = {value!r}: only finite numbers are kept.")
        return float.__repr__(value)
    if isinstance(value, datetime):
        return _encode_datetime(key, value)
    raise StoreValueError(
        f"store[{key!r}] = {value!r}: {type(value).__name__} is not kept. Use int, float, datetime or str."
    )


def decode(text: str) -> StoreValue:
    """What a text reads as; anything that is no number, timestamp or quoted text is text itself. Never fails."""
    text = text[:-2] if text.endswith("\r\n") else text[:-1] if text.endswith("\n") else text
    if text.startswith('"'):
        try:
            quoted = json.loads(text)
        except ValueError:
            return text
        return quoted if isinstance(quoted, str) else text
    if _INTEGER.fullmatch(text):
        return int(text) if len(text.lstrip("-")) <= LONGEST_INTEGER else text
    if _FLOAT.fullmatch(text):
        number = float(text)
        return number if math.isfinite(number) else text
    if match := _TIMESTAMP.fullmatch(text):
        try:
            return _decode_datetime(match)
        except ValueError:
            return text
    return text


def read_moment(text: str) -> datetime | None:
    """A timestamp as aware UTC, None where the text is none. Unlike naive local time it has no doubtful hour."""
    value = decode(text)
    if not isinstance(value, datetime):
        return None
    try:
        return value.astimezone(timezone.utc)
    except (OverflowError, ValueError):
        return value.replace(tzinfo=timezone.utc)


def _encode_text(text: str, *, always: bool) -> str:
    """Text in quotes where it could be taken for something else, by this reader or by a less strict one."""
    try:
        float(text)
    except ValueError:
        plain = bool(text) and not always and text == text.strip() and decode(text) == text and text[0] != '"'
    else:
        plain = False
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(text)
    return text if plain else json.dumps(text, ensure_ascii=False)


def _encode_datetime(key: str, value: datetime) -> str:
    try:
        text = to_text(value)
        same = value.utcoffset() is not None or decode(text) == value.replace(tzinfo=None)
    except (OverflowError, ValueError):
        if value.utcoffset() is not None:
            raise StoreValueError(f"store[{key!r}] = {value!r}: in UTC it is outside the years 1 to 9999.") from None
        same = False
    # A local time that no moment has (the hour that is skipped in spring, datetime.min) is kept without offset.
    return text if same else value.replace(tzinfo=None).isoformat()


def _decode_datetime(match: re.Match[str]) -> datetime:
    date, minutes, seconds, fraction, zulu, hours, rest = match.groups()
    digits = (fraction or "").ljust(6, "0")[:6]
    naive = datetime.fromisoformat(f"{date}T{minutes}:{seconds or '00'}.{digits}")
    if zulu is None and hours is None:
        return naive
    offset = datetime.fromisoformat(f"2000-01-01T00:00:00{hours}:{rest}").utcoffset() if hours else None
    try:
        return _local(naive.replace(tzinfo=timezone(offset) if offset else timezone.utc))
    except (OverflowError, ValueError):
        return datetime.min if naive.year < 5000 else datetime.max


def _local(moment: datetime) -> datetime:
    """Naive local time with the right ``fold``, exact to the microsecond; ``astimezone`` would lose the fold."""
    whole = (moment - _EPOCH) // timedelta(seconds=1)
    return datetime.fromtimestamp(whole).replace(microsecond=moment.microsecond)
