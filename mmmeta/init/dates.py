"""Which date formats the texts of a key are written in, and whether there is only one way to read them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from mmmeta.metadata.generate.dates import is_iso

ISO = "ISO"
"""What is said for texts that are ISO 8601 already."""

UNNAMED = {"%Y%m%d"}
"""Formats that a number which is no date may have as well: believed only of a key whose name speaks of dates."""

_NAME = re.compile(
    r"date|datum|fecha|_at$|_on$|day|time|zeit|published|created|modified|updated|retrieved|issued", re.I
)

_FORMATS = (
    "%d.%m.%Y",
    "%Y%m%d",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y, %H:%M",
    "%Y/%m/%d %H:%M:%S",
    "%Y:%m:%d %H:%M:%S",
    "%Y%m%dT%H%M%S",
    "%Y%m%dT%H%M%SZ",
    "%Y%m%d%H%M%S",
    "%d. %m. %Y",
    "%G-W%V-%u",
    "%d %b %Y",
    "%d %B %Y",
    "%d. %B %Y",
    "%b %d, %Y",
    "%B %d, %Y",
    "%d-%b-%Y",
    "%a, %d %b %Y %H:%M:%S %z",
    "%a, %d %b %Y %H:%M:%S GMT",
)
"""Formats that can be read in one way only, as ``strptime`` writes them."""

_EITHER_WAY = (
    ("%d/%m/%Y", "%m/%d/%Y"),
    ("%d-%m-%Y", "%m-%d-%Y"),
    ("%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M"),
    ("%d/%m/%Y %H:%M:%S", "%m/%d/%Y %H:%M:%S"),
    ("%d.%m.%y", "%m.%d.%y"),
    ("%d/%m/%y", "%m/%d/%y"),
)
"""Pairs that 01/02/2020 fits both; only a day beyond 12 tells which is meant."""

_YEARS = range(1800, 2101)
"""Years that make a date of what might be any number."""

_SHARE = 0.5
"""Part of a key's texts that have to be dates before it is taken for one that holds dates."""


@dataclass
class Dates:
    """The date formats of one key.

    Attributes:
        counts: format → texts that have it, ``ISO`` among them; the most frequent first.
        ambiguous: pairs of formats → an example that fits both, where no text tells which is meant.
        contradictory: pairs of formats of which some texts need the one, some the other.
        unread: texts that are no date in any of these formats, and an example of them.
    """

    counts: dict[str, int] = field(default_factory=dict)
    ambiguous: dict[tuple[str, str], str] = field(default_factory=dict)
    contradictory: list[tuple[str, str]] = field(default_factory=list)
    unread: int = 0
    unread_example: str = ""

    @property
    def proposed(self) -> list[str]:
        """The formats that ``dates:`` of config.yml can name without guessing."""
        return [name for name in self.counts if name != ISO]

    @property
    def is_complete(self) -> bool:
        """Whether each text is a date in one of the formats, read in the only possible way."""
        return not (self.unread or self.ambiguous or self.contradictory)


def dates_of(key: str, texts: Mapping[str, int]) -> Dates | None:
    """The date formats of a key's texts; None for a key that does not hold dates.

    Args:
        texts: text → how often it came.
    """
    seen: Counter[str] = Counter()
    either: dict[tuple[str, str], list[set[str]]] = {}
    unread, unread_example = 0, ""
    named = _NAME.search(key) is not None
    for text, count in texts.items():
        text = text.strip()
        if not text:
            continue
        name = _format_of(text, named)
        if name is not None:
            seen[name] += count
            continue
        pair = next((pair for pair in _EITHER_WAY if any(_fits(text, one) for one in pair)), None)
        if pair is None:
            unread += count
            unread_example = unread_example or text
            continue
        either.setdefault(pair, [set(), set(), set()])
        fits = [_fits(text, one) for one in pair]
        either[pair][2 if all(fits) else fits.index(True)].add(text)
        seen[pair[0]] += count
    total = seen.total() + unread
    if not total or seen.total() < _SHARE * total or not (named or set(seen) - UNNAMED):
        return None
    dates = Dates(unread=unread, unread_example=unread_example)
    for pair, (first, second, both) in either.items():
        count = seen.pop(pair[0])
        if first and second:
            dates.contradictory.append(pair)
        elif not first and not second:
            dates.ambiguous[pair] = min(both)
        else:
            seen[pair[0] if first else pair[1]] = count
    dates.counts = dict(seen.most_common())
    return dates


def _format_of(text: str, named: bool) -> str | None:
    """The only format that a text has, None where there is none or where there may be two."""
    if is_iso(text):
        return ISO
    return next((name for name in _FORMATS if (named or name not in UNNAMED) and _fits(text, name)), None)


def _fits(text: str, name: str) -> bool:
    # strptime takes "2020113" for %Y%m%d and reads a "5" where the format says %d: what it writes itself is sure.
    if name in ("%Y%m%d", "%Y%m%d%H%M%S") and len(text) != (8 if name == "%Y%m%d" else 14):
        return False
    try:
        return datetime.strptime(text, name).year in _YEARS
    except ValueError:
        return False
