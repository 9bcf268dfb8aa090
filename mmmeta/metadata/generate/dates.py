"""Dates as people write them become ISO text, the form that filters compare; what fits no format stays and is named."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from mmmeta.config.date_formats import counts_days, tells_time

_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[Tt ](?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:[.,]\d+)?)?\s?(?:[Zz]|[+-]\d\d(?::?[0-5]\d)?)?)?",
    re.ASCII,
)
_NO_GAP = re.compile(r"%[dfGHIjmMSuVyY]%[dfGHIjmMSuVyY]")
_SHOWN = 80


class _Format(NamedTuple):
    """``exact`` where nothing stands between two numbers: strptime would read 2026111 in one of two ways. ``year`` as
    ``counts_days`` says."""

    text: str
    with_time: bool
    exact: bool
    year: str | None

    def read(self, text: str) -> str | None:
        """ISO text; None where this format does not fit."""
        try:
            moment = datetime.strptime(text, self.text)
        except ValueError:
            return None
        if self.exact and moment.strftime(self.text) != text:
            return None
        if self.year is not None and moment.strftime(self.year) not in text:
            return None  # day 366 of 2026, which strptime reads as one of 2027
        return moment.isoformat() if self.with_time else moment.date().isoformat()


class Dates:
    """Applies config.yml's ``dates`` to flattened metadata."""

    def __init__(self, formats: Mapping[str, Sequence[str]]) -> None:
        self._formats = {
            key: [
                _Format(text, tells_time(text), _NO_GAP.search(text) is not None, counts_days(text)) for text in texts
            ]
            for key, texts in formats.items()
        }

    def apply(self, values: dict[str, Any]) -> Iterator[tuple[str, str]]:
        """Rewrite the dates in place, those in lists too; yields the key and the reason of each that stays as it is.

        No date, no problem: null, and text without a letter.
        """
        for key, formats in self._formats.items():
            value = values.get(key)
            if value is None:
                continue
            wrong: list[object] = []
            if type(value) is list:
                values[key] = [_read(item, formats, wrong) for item in value]
            else:
                values[key] = _read(value, formats, wrong)
            if wrong:
                shown = repr(wrong[0]) if len(repr(wrong[0])) <= _SHOWN else f"{wrong[0]!r:.{_SHOWN}}…"
                more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
                names = ", ".join(form.text for form in formats)
                fit = "fit" if more else "fits"
                yield key, f"{shown}{more} {fit} none of {names} (config.yml: dates); kept without a change"


def _read(value: object, formats: Sequence[_Format], wrong: list[object]) -> object:
    """A date as ISO text, or the value as it is, which is noted where it is none."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return value
    if isinstance(value, str):
        text = value.strip()
        if is_iso(text):
            return text
        found = next(filter(None, (form.read(text) for form in formats)), None)
    elif type(value) is int:
        # 20260301 without quotes; but not 1032026, which has lost a zero.
        found = next(filter(None, (form._replace(exact=True).read(str(value)) for form in formats)), None)
    else:
        found = None
    if found is None:
        wrong.append(value)
        return value
    return found


def is_iso(text: str) -> bool:
    """Whether text is a date or a moment as ISO 8601 has it (extended form)."""
    found = _ISO.fullmatch(text)
    if found is None:
        return False
    try:
        datetime.strptime(found.group(1), "%Y-%m-%d")
    except ValueError:
        return False
    return True
