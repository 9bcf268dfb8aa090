"""The lines of a segment: what the metadata db holds, as JSON, and back into the cells of a table ``files``."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from mmmeta.catalog.columns import KeyColumns
from mmmeta.catalog.derived import derived_text
from mmmeta.catalog.tables import META_SYSTEM
from mmmeta.metadata.changelog.head import FORMAT, Segment
from mmmeta.metadata.db import Head
from mmmeta.metadata.records import unique_value
from mmmeta.values import KIND_OF_TYPE, RESERVED_PREFIX, parse_json_text

_AT = {name: number for number, name in enumerate(META_SYSTEM)}


class Opening(NamedTuple):
    """The first line of a segment.

    Attributes:
        before: digest at the revision before the first.
        keys: metadata keys that came with these revisions.
        revisions, rows: how many lines follow.
    """

    before: bytes
    keys: tuple[str, ...]
    revisions: int
    rows: int


def opening_line(head: Head, first: int, last: int, opening: Opening) -> bytes:
    """The first line of a segment."""
    return _line(
        {
            "format": FORMAT,
            "id": head.id,
            "first": first,
            "last": last,
            "before": opening.before.hex(),
            "revisions": opening.revisions,
            "rows": opening.rows,
            "keys": list(opening.keys),
        }
    )


def revision_lines(connection: sqlite3.Connection, first: int, last: int) -> Iterator[bytes]:
    """The revisions of a segment, ascending."""
    for revision, digest, at, added, changed, deleted, mass in connection.execute(
        "SELECT rev, digest, at, added, changed, deleted, mass_delete FROM revisions WHERE rev BETWEEN ? AND ? ORDER BY rev",
        (first, last),
    ):
        yield _line(
            {
                "revision": revision,
                "digest": digest.hex(),
                "at": at,
                "added": added,
                "changed": changed,
                "deleted": deleted,
                "mass_delete": bool(mass),
            }
        )


def row_lines(connection: sqlite3.Connection, columns: KeyColumns, first: int, last: int) -> Iterator[bytes]:
    """The files of a segment, in the order of their revisions."""
    names = ", ".join([*META_SYSTEM, *columns.sql])
    width = len(META_SYSTEM)
    for number, *cells in connection.execute(
        f"SELECT rowid, {names} FROM files WHERE __rev BETWEEN ? AND ? ORDER BY __rev, rowid", (first, last)
    ):
        (rev, mark, source, mtime, added, updated, deleted, at, reason, types, more, derived) = cells[:width]
        row: dict[str, Any] = {
            "rev": rev,
            "number": number,
            "fingerprint": mark.hex(),
            "metadata": columns.decode(cells[width:], types, more),
        }
        if source is not None:
            row["source"] = source
        if mtime is not None:
            row["source_mtime"] = mtime
        row["added"], row["updated"] = added, updated
        if deleted:
            row["deleted"] = {"at": at, "reason": reason}
        if derived is not None:
            row["derived"] = _derived(derived)
        yield _line(row)


@lru_cache(maxsize=1_000)
def _derived(text: str) -> Any:
    return parse_json_text(text)


def _line(entries: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(entries)
    except TypeError:  # an integer beyond 64 bits
        return json.dumps(entries, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


# Back; all of these raise ValueError or TypeError where a line is not what is written above


def read_opening(line: bytes, head: Head, segment: Segment) -> Opening:
    """The first line, which has to be of this metadata db and segment."""
    entries = _entries(line)
    for name, wanted in (("format", FORMAT), ("id", head.id), ("first", segment.first), ("last", segment.last)):
        if entries.get(name) != wanted:
            raise ValueError(f"its {name} is {entries.get(name)!r:.60} and not {wanted!r}")
    keys = entries.get("keys")
    if not isinstance(keys, list) or not all(
        isinstance(key, str) and not key.startswith(RESERVED_PREFIX) for key in keys
    ):
        raise ValueError("its keys are no list of metadata keys")
    revisions, rows = _number(entries, "revisions"), _number(entries, "rows")
    if rows != segment.rows or not 0 <= revisions <= segment.last - segment.first + 1:
        raise ValueError(f"it has {rows} rows and {revisions} revisions")
    return Opening(_hex(entries, "before"), tuple(keys), revisions, rows)


def read_revision(line: bytes, segment: Segment) -> tuple[Any, ...]:
    """A row of the table ``revisions``."""
    entries = _entries(line)
    mass = entries.get("mass_delete")
    if type(mass) is not bool:
        raise ValueError(f"mass_delete is {mass!r:.60}")
    return (
        _revision(entries, "revision", segment),
        _hex(entries, "digest"),
        _text(entries, "at"),
        *(_number(entries, name) for name in ("added", "changed", "deleted")),
        int(mass),
    )


def read_row(line: bytes, segment: Segment, unique: str, columns: KeyColumns) -> list[Any]:
    """A row for the table ``files``: its number, mmmeta's own cells, then those of the keys."""
    entries = _entries(line)
    metadata = entries.get("metadata")
    if not isinstance(metadata, dict):
        raise ValueError("its metadata is no object")
    for key, value in metadata.items():
        if key.startswith(RESERVED_PREFIX) or type(value) not in KIND_OF_TYPE:
            raise ValueError(f"{key!r:.60} is no metadata key, or has no such value")
    unique_value(metadata, unique)
    cells, types, more = columns.encode(metadata)
    system: list[Any] = [None] * len(META_SYSTEM)
    values = {
        "__rev": _revision(entries, "rev", segment),
        "__fingerprint": _hex(entries, "fingerprint"),
        "__source": _text_or_none(entries, "source"),
        "__source_mtime": _number(entries, "source_mtime") if entries.get("source_mtime") is not None else None,
        "__meta_added": _text(entries, "added"),
        "__meta_last_updated": _text(entries, "updated"),
        "__deleted": 0,
        "__types": types,
        "__more": more,
        "__derived": _derived_of(entries.get("derived")),
    }
    deleted = entries.get("deleted")
    if deleted is not None:
        if not isinstance(deleted, dict):
            raise ValueError("deleted is no object")
        values |= {
            "__deleted": 1,
            "__deleted_at": _text_or_none(deleted, "at"),
            "__deleted_reason": _text_or_none(deleted, "reason"),
        }
    for name, value in values.items():
        system[_AT[name]] = value
    number = entries.get("number")
    return [number if type(number) is int and 0 < number < 1 << 62 else None, *system, *cells]


def _derived_of(keys: Sequence[object] | None) -> str | None:
    if keys is None:
        return None
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ValueError("derived is no list of keys")
    return derived_text(tuple(keys))


def _entries(line: bytes) -> Mapping[str, Any]:
    entries = parse_json_text(line)  # type: ignore[arg-type]
    if not isinstance(entries, dict):
        raise ValueError("a line is no object")
    return entries


def _number(entries: Mapping[str, Any], name: str) -> int:
    value = entries.get(name)
    if type(value) is not int or not -(1 << 63) <= value < 1 << 63:
        raise ValueError(f"{name} is {value!r:.60}")
    return value


def _revision(entries: Mapping[str, Any], name: str, segment: Segment) -> int:
    value = _number(entries, name)
    if not segment.first <= value <= segment.last:
        raise ValueError(f"{name} is {value}, which is none of the segment's")
    return value


def _hex(entries: Mapping[str, Any], name: str) -> bytes:
    value = bytes.fromhex(_text(entries, name))
    if len(value) != 16:
        raise ValueError(f"{name} has {len(value)} bytes")
    return value


def _text(entries: Mapping[str, Any], name: str) -> str:
    value = entries.get(name)
    if type(value) is not str:
        raise ValueError(f"{name} is {value!r:.60}")
    return value


def _text_or_none(entries: Mapping[str, Any], name: str) -> str | None:
    return None if entries.get(name) is None else _text(entries, name)
