"""What the old databases and CSVs kept of a value, read back as far as that is possible."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from typing import Any

from mmmeta.clock import moment, to_text
from mmmeta.errors import ValueNotSupportedError
from mmmeta.legacy.old import Doubts
from mmmeta.values import clean_and_flatten

LISTS_AS_TEXT = "texts that read as lists, as which the old databases kept lists; they were taken for such"
NOT_JSON = "objects that cannot be read; they stay text"
NOT_KEPT = "values that JSON cannot carry"

_LONGEST = 1_000_000
"""Characters of a text that is tried as a Python literal."""

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})", re.ASCII)
_FLOAT = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?", re.ASCII)
_TIMES = ("DATETIME", "TIMESTAMP", "DATE")


def read_cell(value: object, declared: str, key: str, doubts: Doubts) -> Any:
    """A cell of a database of SQLAlchemy's, whose column was declared so; None for NULL, which is absent as well."""
    if value is None:
        return None
    if isinstance(value, bytes):
        doubts.add(NOT_KEPT, key, left=True)
        return None
    if declared.startswith("JSON") and isinstance(value, str):
        with suppress(ValueError, RecursionError):
            return json.loads(value)
        doubts.add(NOT_JSON, key)
        return value
    if declared.startswith("BOOL"):
        return bool(value) if value in (0, 1) else value
    if declared in _TIMES and isinstance(value, str):
        return read_time(value)
    if isinstance(value, str) and value[:1] == "[" and value[-1:] == "]":
        with suppress(ValueError, RecursionError):
            result = json.loads(value)
            doubts.add(LISTS_AS_TEXT, key)
            return result
    return value


def read_time(text: str) -> str:
    """A DATETIME, as ISO text; without an offset, for it had none."""
    try:
        return datetime.fromisoformat(text).isoformat()
    except ValueError:
        return text


def to_utc(text: object) -> str | None:
    """A naive local time of an old program as ISO 8601 in UTC, by this machine's time zone; None where it is none."""
    if not isinstance(text, str) or not text:
        return None
    try:
        return to_text(datetime.fromisoformat(text))
    except (ValueError, OverflowError, OSError):
        return None


def literal(text: str) -> Any:
    """The list or object whose Python repr a text is; the text itself where it is none."""
    if (text[:1] + text[-1:]) not in ("[]", "{}") or len(text) > _LONGEST:
        return text
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    return value if isinstance(value, (list, dict)) else text


def kind_of_texts(texts: Iterable[str]) -> str:
    """What all texts of a column read as: ``boolean``, ``number``, or ``text``."""
    kinds = {_kind(text) for text in texts}
    return kinds.pop() if len(kinds) == 1 else "text"


def _kind(text: str) -> str:
    if text in ("True", "False"):
        return "boolean"
    if _INTEGER.fullmatch(text):
        return "number"
    if _FLOAT.fullmatch(text):
        with suppress(ValueError, OverflowError):
            return "number" if repr(float(text)) == text else "text"
    return "text"


def typed(text: str, kind: str) -> Any:
    """The value of a text of a column of this kind."""
    if kind == "boolean":
        return text == "True"
    if kind == "number":
        return int(text) if _INTEGER.fullmatch(text) else float(text)
    return text


def flat(values: dict[str, Any], doubts: Doubts) -> dict[str, Any]:
    """Metadata as today's has it: nested objects flattened; what cannot be kept is left out and counted."""
    try:
        return clean_and_flatten(values).values
    except ValueNotSupportedError:
        pass
    kept: dict[str, Any] = {}
    for key, value in values.items():
        try:
            kept.update(clean_and_flatten({key: value}).values)
        except ValueNotSupportedError:
            doubts.add(NOT_KEPT, key, left=True)
    return kept


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same but for what the old databases did to them: 1 and ``"1"`` and True, ``"00123"`` and 123,
    a date with and without its midnight, a list and its text, nothing and what is empty."""
    if one == other or (one in (None, "", [], {}) and other in (None, "", [], {})):
        return True
    first, second = _plain(one), _plain(other)
    if first == second:
        return True
    with suppress(ValueError, OverflowError):
        if float(first) == float(second):
            return True
    start, end = moment(first.replace(" ", "T", 1)), moment(second.replace(" ", "T", 1))
    return start is not None and start == end


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, str):
        value = literal(value) if value not in ("True", "False") else str(int(value == "True"))
    if isinstance(value, (list, dict)):
        return json.dumps(value, sort_keys=True, default=str)
    return str(value)
