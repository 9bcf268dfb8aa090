"""How people write dates: strptime's formats of ``dates`` in config.yml, checked. ``metadata/generate/dates`` applies them."""

from __future__ import annotations

import re
from datetime import date, datetime

_KNOWN = "aAbBdfGHIjmMpSuVyYz%"
_DIRECTIVE = re.compile(r"%(.?)", re.DOTALL)

_INSTEAD = {
    "Z": "write the name of the zone as it stands in the text (GMT); %z reads offsets such as +0100, +01:00 and Z",
    **dict.fromkeys("cxX", "it means something else on each machine; write its parts"),
    "-": "leave the hyphen out; %d reads 1 and 01",
}


def check_format(text: str) -> str:
    """A format that tells year, month and day, and perhaps a time.

    Raises:
        ValueError: it cannot be used; says why and what to write.
    """
    found = [match.group(1) for match in _DIRECTIVE.finditer(text)]
    for sign in found:
        if sign not in _KNOWN or not sign:
            hint = _INSTEAD.get(sign, f"There are {' '.join(f'%{known}' for known in _KNOWN)}")
            raise ValueError(f"%{sign} is not read in {text!r:.80}: {hint}")
    signs = [sign for sign in found if sign != "%"]
    double = next((sign for sign in signs if signs.count(sign) > 1), None)
    if double is not None:
        raise ValueError(f"{text!r:.80} has %{double} twice. Leave one out")
    if {"G", "V", "u"} & set(signs):
        _check_week(text, set(signs))
    elif len({"Y", "y"} & set(signs)) != 1:
        raise ValueError(f"{text!r:.80} has to have one year, %Y (2026) or %y (26), so that it tells a day")
    elif "j" not in signs and not ({"m", "b", "B"} & set(signs) and "d" in signs):
        raise ValueError(f"{text!r:.80} tells no day. Write %d and %m (or %b, %B for English names), such as %d.%m.%Y")
    if ("I" in signs) != ("p" in signs) or {"H", "I"} <= set(signs):
        raise ValueError(f"{text!r:.80}: %I (1 to 12) and %p (AM, PM) go together; %H counts to 23")
    if not {"H", "I"} & set(signs) and {"M", "S", "f", "z"} & set(signs):
        raise ValueError(f"{text!r:.80} has parts of a time but no hour. Write %H")
    if _reads_iso_otherwise(text):
        raise ValueError(
            f"{text!r:.80} reads 2001-02-03 in another way than ISO 8601, and such dates stay as they are. "
            "Let the writer of the metadata mend them"
        )
    return text


def _check_week(text: str, signs: set[str]) -> None:
    """The weeks of ISO 8601, which have a year of their own.

    Raises:
        ValueError: no day of a week is told, or something else as well.
    """
    if not {"G", "V"} <= signs or {"Y", "y", "m", "d", "j", "b", "B"} & signs:
        raise ValueError(f"{text!r:.80}: %G and %V, the year and the week of ISO 8601, go together, as in %G-W%V-%u")
    if not {"u", "a", "A"} & signs:
        raise ValueError(f"{text!r:.80} tells no day. Write %u (1 is Monday), as in %G-W%V-%u")


def counts_days(text: str) -> str | None:
    """The year of a format that counts days or weeks of it (``%Y``, ``%y``, ``%G``); None where it names day and month."""
    signs = {match.group(1) for match in _DIRECTIVE.finditer(text)}
    return next(f"%{year}" for year in "GYy" if year in signs) if signs & {"j", "V"} else None


def tells_time(text: str) -> bool:
    """Whether a format has a time of the day."""
    return any(match.group(1) in ("H", "I") for match in _DIRECTIVE.finditer(text))


def _reads_iso_otherwise(text: str) -> bool:
    for sample in ("2001-02-03", "2001-02-03 04:05", "2001-02-03T04:05:06"):
        try:
            return datetime.strptime(sample, text).date() != date(2001, 2, 3)
        except (ValueError, re.error):
            continue
    return False
