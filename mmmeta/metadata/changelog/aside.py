"""``setaside.json.gz``: what generate has set aside, for clients that have no meta.db. No revision counts it."""

from __future__ import annotations

import gzip
import json
import sqlite3
import zlib
from typing import Any

from mmmeta.catalog.tables import read_info
from mmmeta.errors import ChangeLogError, remedy_of
from mmmeta.layout import Layout, read_plain
from mmmeta.metadata.changelog.head import FORMAT, SYNC_AGAIN
from mmmeta.metadata.setaside import COUNT, KEPT, LONGEST, AllSetAside, rows_of, set_aside_of
from mmmeta.writing import write_atomic

LARGEST = 4 * KEPT * LONGEST * 2
"""Bytes, packed or not: so many rows of a path and a reason, at most four bytes a character."""

_NOTHING = b'"rows": []}'


def publish_set_aside(connection: sqlite3.Connection, layout: Layout, number: str) -> None:
    """Make the file say what the metadata db does; what says so already is left alone.

    Args:
        number: the id of the metadata db.

    Raises:
        OSError: it cannot be written.
    """
    content = _content(connection, number)
    if not _is_told(content, _known(layout)):
        write_atomic(layout.set_aside, gzip.compress(content, 6, mtime=0), by=layout.local)


def set_aside_is_published(connection: sqlite3.Connection, layout: Layout, number: str) -> bool:
    """Whether the file says what the metadata db does."""
    return _is_told(_content(connection, number), _known(layout))


def _is_told(content: bytes, known: bytes | None) -> bool:
    return content == known or (known is None and content.endswith(_NOTHING))


def _content(connection: sqlite3.Connection, number: str) -> bytes:
    entries = {
        "format": FORMAT,
        "id": number,
        "problems": read_info(connection).get(COUNT, 0),
        "rows": rows_of(connection),
    }
    return json.dumps(entries, ensure_ascii=False).encode()


def read_published(layout: Layout) -> AllSetAside | None:
    """What the file says; None where there is none.

    Raises:
        ChangeLogError: it is damaged.
    """
    try:
        packed = read_plain(layout.set_aside, LARGEST)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ChangeLogError(f"{layout.set_aside} cannot be read: {error.strerror}; {remedy_of(error)}") from error
    try:
        entries: Any = json.loads(_unpacked(packed))
        rows = [tuple(row) for row in entries["rows"][:KEPT]]
        return set_aside_of(rows, entries["problems"])
    except (ValueError, KeyError, TypeError, RecursionError, zlib.error) as error:
        raise ChangeLogError(f"{layout.set_aside} is damaged ({str(error)[:200]}); {SYNC_AGAIN}") from None


def _known(layout: Layout) -> bytes | None:
    """The content of the file; None where there is none, and something else where it is damaged."""
    try:
        return _unpacked(read_plain(layout.set_aside, LARGEST))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, zlib.error):
        return b""


def _unpacked(packed: bytes) -> bytes:
    unpacking = zlib.decompressobj(31)
    content = unpacking.decompress(packed, LARGEST)
    if not unpacking.eof or unpacking.unused_data:
        raise ValueError("its packing has no end, or it is too large")
    return content
