"""Metadata values: parsing, flattening, and how each value becomes a database cell and comes back unchanged.

SQLite cannot tell ``True`` from ``1``, a list from its text or ``null`` from absent. Each value therefore has a *kind*,
one letter, and a row's ``__types`` lists the cells whose kind neither the storage class nor the column's usual kind
tells, as ``;<registry id><kind>;…;``:

    s  text                      i  integer within 64 bits         f  float
    b  true or false, as 1 or 0  I  integer kept as decimal text   j  list or object, as JSON text
    n  explicit null

A cell that is NULL and not marked ``n`` is absent.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, NamedTuple

import orjson

from mmmeta.errors import NotJsonError, ValueNotSupportedError

SEPARATOR = ":"
"""Joins the names of nested objects to one key. Changing it changes every key and fingerprint."""

RESERVED_PREFIX = "__"
"""Keys that begin so belong to mmmeta; metadata keys that do are set aside."""

_INT64_LIMIT = 1 << 63

LONGEST_INTEGER = 4_300
"""Digits of the longest integer that is kept; Python reads and writes no longer ones as text."""

_TOO_LONG_AN_INTEGER = 10**LONGEST_INTEGER

DEEPEST_LIST = 200
"""Levels of lists and of objects within lists; the JSON parsers of both sides end soon after."""

_UTF8_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
_BEYOND_FLOATS = re.compile(rb"\d{308,}")
_MAY_HOLD_FLOATS = frozenset((float, list, dict))
_NOT_JSON_NUMBER = re.compile(rb"(?<![\w\"])-?(NaN|Infinity)\b")

KIND_OF_TYPE: dict[type, str] = {
    str: "s",
    int: "i",
    float: "f",
    bool: "b",
    type(None): "n",
    list: "j",
    dict: "j",
}

TYPE_NAMES = {"s": "text", "i": "integer", "I": "integer", "f": "number", "b": "boolean", "j": "json", "n": "null"}
"""What people call the kinds of values."""


class Flattened(NamedTuple):
    """A record with nested objects flattened.

    Attributes:
        values: ``{key: value}``; nested keys joined with ``:``; lists and empty objects stay values.
        clashes: keys that came from two places of the record (``a:b`` beside ``{"a": {"b": …}}``); the deeper won.
    """

    values: dict[str, Any]
    clashes: tuple[str, ...] = ()


def parse_json(raw: bytes, what: str = "file") -> Flattened:
    """Parse and flatten one metadata file, or what else it is called in an error: a line of one.

    Integers beyond 64 bits keep all their digits, and a UTF-8 byte order mark is passed over.

    Raises:
        NotJsonError: it is no JSON.
        ValueNotSupportedError: not an object, NaN or a number too large for a float, a lone surrogate, lists
            nested too deeply.
    """
    if raw.startswith(_UTF8_BOM):
        raw = raw[3:]
    try:
        record = _loads(raw)
    except orjson.JSONDecodeError as error:
        raise NotJsonError(_why_not_json(raw, error, what)) from None
    except ValueError as error:
        raise ValueNotSupportedError(f"a number cannot be read: {error}") from None
    if type(record) is not dict:
        raise ValueNotSupportedError(
            f"the {what} holds {_describe_type(record)}, not an object; metadata is one {{…}} a {what}"
            + (", or a record a line, in a *.jsonl file" if what == "file" and _is_list_of_records(record) else "")
        )
    try:
        flat = flatten(record)
        suspects = [value for value in flat.values.values() if type(value) in _MAY_HOLD_FLOATS]
        if any(map(_may_have_lost_digits, suspects)):
            # orjson turns integers over 64 bits into floats; the slower parser keeps them.
            flat = flatten(json.loads(raw))
            for key, value in flat.values.items():
                _check_text(key, key)
                clean_value(key, value)
    except RecursionError:
        raise ValueNotSupportedError(f"lists are nested more than {DEEPEST_LIST} deep") from None
    except ValueNotSupportedError:
        raise
    except ValueError as error:
        raise ValueNotSupportedError(f"a number cannot be read: {error}") from None
    return flat


def _loads(text: bytes | str) -> Any:
    """Parse JSON, integers of hundreds of digits included, which orjson takes for infinity.

    Raises:
        ValueError: not JSON; an ``orjson.JSONDecodeError`` unless only a number is to blame.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raw = text.encode() if isinstance(text, str) else text
        if _BEYOND_FLOATS.search(raw) is None:
            raise
        # With short numbers instead, what orjson refuses is refused here as well.
        orjson.loads(_BEYOND_FLOATS.sub(b"1", raw))
        return json.loads(text)


def flatten(record: Mapping[str, Any]) -> Flattened:
    """Flatten nested objects; see ``Flattened``. The record holds JSON types only."""
    values: dict[str, Any] = {}
    try:
        if _flatten_into(values, "", record) == len(values):
            return Flattened(values)
    except RecursionError:
        pass  # objects nested by the hundred; the way by levels needs no stack
    return _flatten_by_depth(record)


def _flatten_into(values: dict[str, Any], prefix: str, record: Mapping[str, Any]) -> int:
    """Flatten in reading order; returns how many values there are, one that comes to the same key as another too."""
    count = len(record)
    for name, value in record.items():
        if type(value) is dict and value:
            count += _flatten_into(values, prefix + name + SEPARATOR, value) - 1
        else:
            values[prefix + name] = value
    return count


def _flatten_by_depth(record: Mapping[str, Any]) -> Flattened:
    """Flatten level by level, so that of two values with one key the more deeply nested is written last and stays."""
    values: dict[str, Any] = {}
    clashes: list[str] = []
    level: list[tuple[str, Mapping[str, Any]]] = [("", record)]
    while level:
        deeper: list[tuple[str, Mapping[str, Any]]] = []
        for prefix, part in level:
            for name, value in part.items():
                key = prefix + name
                if type(value) is dict and value:
                    deeper.append((key + SEPARATOR, value))
                    continue
                if key in values:
                    clashes.append(key)
                values[key] = value
        level = deeper
    return Flattened(values, tuple(dict.fromkeys(clashes)))


def _may_have_lost_digits(value: Any) -> bool:
    kind = type(value)
    if kind is float:
        return bool(abs(value) >= _INT64_LIMIT)
    if kind is list:
        return any(map(_may_have_lost_digits, [item for item in value if type(item) in _MAY_HOLD_FLOATS]))
    if kind is dict:
        return any(map(_may_have_lost_digits, [item for item in value.values() if type(item) in _MAY_HOLD_FLOATS]))
    return False


def _why_not_json(raw: bytes, error: orjson.JSONDecodeError, what: str) -> str:
    if not raw.strip():
        return f"the {what} is empty; the writer may have been interrupted"
    if raw.startswith(_UTF16_BOMS) or (b"\0" in raw[:4] and raw.count(b"\0") * 4 >= len(raw)):
        return f"not valid JSON: the {what} is UTF-16 or UTF-32, not UTF-8: write it as UTF-8"
    try:
        raw.decode()
    except UnicodeDecodeError as wrong:
        return f"not valid JSON: the {what} is not UTF-8 (byte {wrong.start + 1} is 0x{raw[wrong.start]:02X}): write it as UTF-8"
    if what == "file" and _holds_lines(raw):
        return "not valid JSON, but it looks like JSON Lines: call it *.jsonl, or set metadata: {lines: true} in config.yml"
    if (found := _NOT_JSON_NUMBER.search(raw)) is not None:
        return f"not valid JSON: {found.group(0).decode()} is not a JSON number"
    return f"not valid JSON: {error}"


def _is_list_of_records(value: Any) -> bool:
    return type(value) is list and bool(value) and all(type(record) is dict for record in value)


def _holds_lines(raw: bytes) -> bool:
    """Whether the first line is a metadata file of its own, and others follow."""
    first, _, rest = raw.lstrip().partition(b"\n")
    if not (first.startswith(b"{") and rest.lstrip().startswith(b"{")):
        return False
    try:
        return type(orjson.loads(first)) is dict
    except ValueError:
        return False


def _describe_type(value: Any) -> str:
    return {list: "a list", str: "a text", type(None): "null", bool: "true or false"}.get(type(value), "a number")


def clean(record: Mapping[Any, Any]) -> dict[str, Any]:
    """Turn what Python code hands in into JSON types: dates become ISO text, tuples and sets lists.

    Raises:
        ValueNotSupportedError: a key that is not text, or a value that JSON cannot carry; the message names the key.
    """
    return _clean_mapping("", record, 0)


def clean_and_flatten(record: Mapping[Any, Any]) -> Flattened:
    """``flatten(clean(record))``, in one pass where no key comes twice.

    Raises:
        ValueNotSupportedError: as ``clean``.
    """
    values: dict[str, Any] = {}
    if _clean_into(values, "", record, 0) == len(values):
        return Flattened(values)
    return flatten(clean(record))


def _clean_into(values: dict[str, Any], prefix: str, record: Mapping[Any, Any], depth: int) -> int:
    """Clean and flatten in reading order; returns how many values there are, as ``_flatten_into`` does."""
    count = len(record)
    for name, value in record.items():
        if type(name) is not str or not name.isascii():
            name = _clean_key(name)
        kind = type(value)
        # Most values are plain, and looked at no further.
        if (kind is str and value.isascii()) or value is None or kind is bool:
            values[prefix + name] = value
        elif kind is dict and value and depth < DEEPEST_LIST:
            count += _clean_into(values, prefix + name + SEPARATOR, value, depth + 1) - 1
        else:
            value = clean_value(prefix + name, value, depth)
            if type(value) is dict and value:
                count += _flatten_into(values, prefix + name + SEPARATOR, value) - 1
            else:
                values[prefix + name] = value
    return count


def _clean_key(key: Any) -> str:
    if not isinstance(key, str):
        raise ValueNotSupportedError(f"the key {key!r} is not text; metadata keys are text")
    _check_text(key, key)
    return str.__str__(key)  # str(…) of a text that is an Enum gives another text


def _clean_mapping(prefix: str, record: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in record.items():
        key = _clean_key(key)
        result[key] = clean_value(prefix + key, value, depth)
    return result


def clean_value(key: str, value: Any, depth: int = 0) -> Any:
    """One value as JSON types; see ``clean``. ``depth`` counts the lists and objects around it."""
    kind = type(value)
    if value is None or kind is bool or (kind is int and fits_64_bits(value)):
        return value
    if kind is list and depth < DEEPEST_LIST:
        return [item if type(item) is str and item.isascii() else clean_value(key, item, depth + 1) for item in value]
    if kind is float and math.isfinite(value):
        return value
    if isinstance(value, str):
        _check_text(key, value)
        return str.__str__(value)
    if isinstance(value, int):
        if not -_TOO_LONG_AN_INTEGER < value < _TOO_LONG_AN_INTEGER:
            raise ValueNotSupportedError(f"{key}: an integer of more than {LONGEST_INTEGER:,} digits; keep it as text")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueNotSupportedError(f"{key}: {value!r} is not a JSON number; use None for an unknown value")
        return float(value)
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if depth >= DEEPEST_LIST:
        raise ValueNotSupportedError(f"{key}: lists or dicts are nested more than {DEEPEST_LIST} deep")
    if isinstance(value, Mapping):
        return _clean_mapping(key + SEPARATOR, value, depth + 1)
    if isinstance(value, (set, frozenset)):
        return [clean_value(key, item, depth + 1) for item in sorted(value, key=repr)]
    if isinstance(value, (list, tuple)):
        return [clean_value(key, item, depth + 1) for item in value]
    raise ValueNotSupportedError(
        f"{key}: a {type(value).__name__} cannot be kept as metadata; "
        "use text, numbers, true/false, None, dates, lists or dicts"
    )


def _check_text(key: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueNotSupportedError(f"{key!r}: the text holds a lone surrogate, which UTF-8 cannot carry") from None


def kind_of(value: Any) -> str:
    """The kind letter of a JSON value."""
    kind = KIND_OF_TYPE[type(value)]
    return "I" if kind == "i" and not fits_64_bits(value) else kind


def fits_64_bits(value: int) -> bool:
    """Whether SQLite keeps the integer as one."""
    return -_INT64_LIMIT <= value < _INT64_LIMIT


def to_cell(value: Any, kind: str) -> Any:
    """What goes into the database for a value of this kind."""
    if kind == "j":
        return json_text(value)
    if kind == "I":
        return str(value)
    if kind == "b":
        return 1 if value else 0
    return value


def from_cell(cell: Any, kind: str) -> Any:
    """The value that ``to_cell`` was given."""
    if kind == "j":
        return parse_json_text(cell)
    if kind == "I":
        return int(cell)
    if kind == "b":
        return bool(cell)
    return cell


def default_kind(cell: Any, usual: str | None) -> str:
    """The kind that a cell has when its row's ``__types`` does not mention it."""
    if type(cell) is str:
        return usual if usual in ("j", "I") else "s"
    if type(cell) is int:
        return "b" if usual == "b" else "i"
    return "f" if type(cell) is float else "n"


def json_text(value: Any) -> str:
    """Compact JSON; also for integers beyond 64 bits, which orjson refuses."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def parse_json_text(text: str) -> Any:
    """What ``json_text`` was given."""
    value = _loads(text)
    return json.loads(text) if _may_have_lost_digits(value) else value


def parse_marks(types: str | None) -> dict[int, str]:
    """``__types`` as ``{registry id: kind}``."""
    if not types:
        return {}
    return {int(mark[:-1]): mark[-1] for mark in types.split(";") if mark}


def write_marks(marks: Mapping[int, str]) -> str | None:
    """``__types`` for these marks; None when the usual kinds tell everything."""
    return f";{';'.join(f'{number}{kind}' for number, kind in sorted(marks.items()))};" if marks else None
