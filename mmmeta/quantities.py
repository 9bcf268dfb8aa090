"""Durations and sizes as people write them: ``1h30m``, ``7d``, ``10GB``; and back into words.

They occur in filters, in the project file and on the command line, and mean the same everywhere.
"""

from __future__ import annotations

import math
import re

from mmmeta.errors import QuantityError

_SECONDS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
_WORDS = {"w": "week", "d": "day", "h": "hour", "m": "minute", "s": "second"}
_BYTES: dict[str, int] = {"": 1, **{letter: 1000**power for power, letter in enumerate("kmgtp", start=1)}}
_BINARY: dict[str, int] = {"": 1, **{letter: 1024**power for power, letter in enumerate("kmgtp", start=1)}}

LONGEST_DURATION = 1000 * 366 * 86400
"""Seconds. A moment that long ago still has a date; anything longer is a typing error."""

_PART = re.compile(r"(\d+(?:\.\d+)?)([wdhms])", re.IGNORECASE)
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[wdhms])+", re.IGNORECASE)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgtp]?)(i?)(b?)", re.IGNORECASE)


def is_duration(text: str) -> bool:
    """Whether a text has the form of a duration (``7d``, ``1h30m``)."""
    return _DURATION.fullmatch(text.strip()) is not None


def parse_duration(text: str | int | float) -> float:
    """Seconds of a duration: ``90s``, ``15m``, ``12h``, ``7d``, ``2w``, ``1h30m``; a bare number is seconds already.

    Raises:
        QuantityError: it is not a duration, is negative, or longer than 1000 years.
    """
    if isinstance(text, bool) or not isinstance(text, (str, int, float)):
        raise QuantityError(f"{text!r} is not a duration. Write 90s, 15m, 12h, 7d, 2w or 1h30m.")
    if isinstance(text, str):
        if not is_duration(text):
            unit = f" Say the unit: {text.strip()}s?" if re.fullmatch(r"\d+(\.\d+)?", text.strip()) else ""
            raise QuantityError(f"{text!r} is not a duration.{unit} Write 90s, 15m, 12h, 7d, 2w or 1h30m.")
        seconds = sum(float(number) * _SECONDS[unit.lower()] for number, unit in _PART.findall(text))
    else:
        seconds = float(text) if abs(text) <= LONGEST_DURATION else math.inf
    if not 0 <= seconds <= LONGEST_DURATION:
        raise QuantityError(f"{text!r} is not a duration between 0 and 1000 years.")
    return seconds


def parse_size(text: str | int) -> int:
    """Bytes of a size: ``500MB`` and ``10GB`` count in thousands, ``10GiB`` in 1024; a bare number is bytes.

    Raises:
        QuantityError: it is not a size, or is negative.
    """
    if isinstance(text, int) and not isinstance(text, bool):
        if text < 0:
            raise QuantityError(f"{text} bytes is not a size: it is negative.")
        return text
    match = _SIZE.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None or (match[3] and not match[2]):
        raise QuantityError(f"{text!r} is not a size. Write 800kB, 500MB, 10GB or 10GiB.")
    number: str = match[1]
    whole, _, fraction = number.partition(".")
    factor = (_BINARY if match[3] else _BYTES)[match[2].lower()]
    # Integers throughout, so that a large size does not lose its last digits in a float.
    return int(whole + fraction) * factor // int("1" + "0" * len(fraction))


def format_duration(seconds: float) -> str:
    """A duration in words, at most two units: ``7 days``, ``1 hour 30 minutes``, ``0.25 seconds``.

    Days stay days up to four weeks, because that is how people ask ("the last 7 days").
    """
    if not math.isfinite(seconds):
        return "for ever"
    if abs(seconds) < 60:
        return _count(float(f"{seconds:.2g}") if abs(seconds) < 10 else round(seconds, 1), "s")
    units = [unit for unit in _SECONDS if unit != "w" or (seconds >= 28 * 86400 and seconds % _SECONDS["w"] == 0)]
    rest = round(seconds)
    parts: list[str] = []
    for unit in units:
        number, rest = divmod(rest, _SECONDS[unit])
        if number:
            parts.append(_count(number, unit))
        elif parts:
            break
    return " ".join(parts[:2])


def format_size(size: int) -> str:
    """Bytes in words, in thousands: ``512 bytes``, ``1.2 MB``."""
    amount = float(size)
    for unit in ("bytes", "kB", "MB", "GB"):
        if abs(amount) < 999.95:
            return f"{size} {'byte' if size == 1 else 'bytes'}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def _count(number: float, unit: str) -> str:
    return f"{number:g} {_WORDS[unit]}{'' if number == 1 else 's'}"
