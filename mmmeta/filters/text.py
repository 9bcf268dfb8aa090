"""Filters as people type them on the command line, and filters in words as the UI shows them.

document_type=contract  'retrieved_at>=7d'  imported=false  'pages>10'  'title~=%report%'  type=pdf,html
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from mmmeta.errors import FilterError
from mmmeta.filters.conditions import Ago, All, AnyOf, Compare, Condition, Not, Value, compare
from mmmeta.quantities import format_duration, is_duration, parse_duration

__all__ = ["describe", "parse_text"]

_OPERATORS = {
    "!~*=": "notilike",
    "~*=": "ilike",
    "!~=": "notlike",
    "~=": "like",
    "^=": "startswith",
    "$=": "endswith",
    "!=": "!=",
    "<>": "!=",
    "<=": "<=",
    ">=": ">=",
    "==": "=",
    "=": "=",
    "<": "<",
    ">": ">",
}
"""Longest first, so that ``!=`` is not read as a key that ends in ``!``."""

_QUOTED = r'"(?:[^"\\]|\\.)*"' + r"|'(?:[^'\\]|\\.)*'"
_WORD = re.compile(
    rf"\s*(?P<key>{_QUOTED}|[^\"'].*?)\s*(?P<operator>{'|'.join(map(re.escape, _OPERATORS))})\s*(?P<value>.*?)\s*",
    re.DOTALL,
)
_ENTRY = re.compile(rf"\s*(?P<quoted>{_QUOTED})\s*(?=,|$)|(?P<plain>[^,]*)", re.DOTALL)
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,999})")
_FLOAT = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_DATE = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})")
_MOMENT = re.compile(
    r"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})[T ](?P<time>[0-9]{2}:[0-9]{2})(?P<seconds>:[0-9]{2})?"
    r"(?:\.(?P<fraction>[0-9]{1,9}))?(?P<zone>Z|[+-][0-9]{2}:?[0-9]{2})?",
    re.IGNORECASE,
)
_CONSTANTS = {"true": True, "false": False, "null": None}


def parse_text(words: Sequence[str]) -> Condition:
    """The condition of filters typed on the command line, one a word; all of them must hold.

    Operators: ``=`` (``==``), ``!=`` (``<>``), ``<``, ``<=``, ``>``, ``>=``, ``~=`` like, ``!~=`` not like, ``~*=`` and
    ``!~*=`` the same in any case, ``^=`` begins with, ``$=`` ends with. A comma makes a list under ``=`` (one of them)
    and ``!=`` (none of them). ``true``, ``false``, ``null``, integers, floats and ISO dates are recognised, and
    durations after ``<``, ``<=``, ``>``, ``>=`` (``retrieved_at>=7d``: the last seven days). Quotes, double or single,
    make a value text and keep its commas (``'title="a, b"'`` in a shell); a key with odd characters can be quoted too.

    Raises:
        FilterError: a word is no filter, or its value does not go with its operator.
    """
    parts = tuple(_parse_word(word) for word in words)
    return parts[0] if len(parts) == 1 else All(parts)


def _parse_word(word: str) -> Compare:
    match = _WORD.fullmatch(word)
    if match is None:
        raise FilterError(f"{word!r} is not a filter. Write key=value, for example document_type=contract.")
    key, operator, text = _unquote(match["key"]), _OPERATORS[match["operator"]], match["value"]
    if text[:1] in ("=", "<", ">"):
        raise FilterError(
            f"{word!r}: there is no operator {match['operator'] + text[0]!r}. Write >=, <=, = or !=; a text that "
            f'begins with {text[0]} is written {key}{match["operator"]}"{text}".'
        )
    if operator in ("=", "!="):
        entries = [_value(word, entry) for entry in _split(word, text)]
        if len(entries) > 1:
            return compare(key, "in" if operator == "=" else "notin", entries)
        return compare(key, operator, entries[0])
    if operator in ("<", "<=", ">", ">="):
        if not text:
            raise FilterError(f"{word!r}: nothing to compare with. Write {key}{match['operator']}10, a date, or 7d.")
        if is_duration(text):
            return compare(key, operator, Ago(parse_duration(text)))
        return compare(key, operator, _value(word, text))
    return compare(key, operator, _text(word, text))


def _split(word: str, text: str) -> list[str]:
    """The entries of a list, quotes kept; a comma between quotes does not separate."""
    entries: list[str] = []
    position = 0
    while True:
        match = _ENTRY.match(text, position)
        assert match is not None  # the second alternative matches everywhere
        entries.append((match["quoted"] or match["plain"] or "").strip())
        position = match.end()
        if position >= len(text):
            break
        position += 1  # the comma
    if len(entries) > 1 and "" in entries:
        raise FilterError(f'{word!r}: the list has an empty entry. Write "" for an empty text, or quote the comma.')
    return entries


def _text(word: str, text: str) -> str:
    """The value as text, whatever it looks like."""
    if text[:1] in ('"', "'"):
        if re.fullmatch(_QUOTED, text, re.DOTALL) is None:
            raise FilterError(f'{word!r}: the quote is not closed. A text that holds quotes: "say \\"yes\\"".')
        return _unquote(text)
    return text


def _value(word: str, text: str) -> Any:
    """The value as what it looks like: a constant, a number, a date, otherwise text."""
    if text[:1] in ('"', "'"):
        return _text(word, text)
    if text.lower() in _CONSTANTS:
        return _CONSTANTS[text.lower()]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    try:
        if _DATE.fullmatch(text):
            return date.fromisoformat(text)
        if moment := _MOMENT.fullmatch(text):
            return _moment(moment)
    except ValueError as error:
        raise FilterError(f"{word!r}: {text} is no date ({error}). To compare it as text, quote it.") from None
    return text


def _moment(match: re.Match[str]) -> datetime:
    """Python 3.10 reads neither ``Z`` nor any other number of digits than three or six, so they are made so."""
    zone = (match["zone"] or "").upper().replace("Z", "+00:00")
    if zone and ":" not in zone:
        zone = f"{zone[:3]}:{zone[3:]}"
    fraction = (match["fraction"] or "")[:6].ljust(6, "0")
    return datetime.fromisoformat(f"{match['day']}T{match['time']}{match['seconds'] or ':00'}.{fraction}{zone}")


def _unquote(text: str) -> str:
    if text[:1] not in ('"', "'"):
        return text
    return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)


_PHRASES = {
    "=": "is",
    "!=": "is not",
    "<": "is less than",
    "<=": "is at most",
    ">": "is more than",
    ">=": "is at least",
    "like": "is like",
    "notlike": "is not like",
    "ilike": "is like (in any case)",
    "notilike": "is not like (in any case)",
    "startswith": "begins with",
    "endswith": "ends with",
}
_TIME_PHRASES = {"<": "is before", "<=": "is not after", ">": "is after", ">=": "is not before"}


def describe(condition: Condition) -> str:
    """The condition in words: ``document_type is "contract" and retrieved_at is within the last 7 days``.

    Parts come in canonical order (by key); what would be misread stands in brackets.
    """
    if isinstance(condition, Compare):
        return _describe_compare(condition)
    if isinstance(condition, Not):
        return f"not ({describe(condition.part)})"
    if not condition.parts:
        return "all files" if isinstance(condition, All) else "no files"
    other = AnyOf if isinstance(condition, All) else All
    texts = [
        f"({describe(part)})" if isinstance(part, other) and len(part.parts) > 1 else describe(part)
        for part in condition.parts
    ]
    return (" and " if isinstance(condition, All) else " or ").join(texts)


def _describe_compare(part: Compare) -> str:
    key, op, value = part.key, part.op, part.value
    if isinstance(value, tuple):
        if op == "between":
            return f"{key} is between {_words(value[0])} and {_words(value[1])}"
        listed = ", ".join(map(_words, value)) or "nothing"
        return f"{key} is {'one' if op == 'in' else 'none'} of {listed}"
    if isinstance(value, Ago):
        span = format_duration(value.seconds)
        if op in (">", ">="):
            return f"{key} is within the last {span[2:] if re.fullmatch('1 [a-z]+', span) else span}"
        return f"{key} is {'more than' if op == '<' else 'at least'} {span} ago"
    if value is None and op in ("=", "!="):
        return f"{key} is {'absent or null' if op == '=' else 'given'}"
    phrase = _TIME_PHRASES.get(op) if isinstance(value, date) else None
    return f"{key} {phrase or _PHRASES[op]} {_words(value)}"


def _words(value: Value) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, Ago):
        return f"{format_duration(value.seconds)} ago"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return str(value)
