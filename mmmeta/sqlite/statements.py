"""Small helpers for writing statements: names that any text may be, and more values than one statement takes."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from mmmeta.chunks import PER_STATEMENT, in_chunks

_SURROGATE = re.compile("[\ud800-\udfff]")


def quote_identifier(name: str) -> str:
    """A table or column name for SQL; any text is safe."""
    return '"' + name.replace('"', '""') + '"'


def encodable(texts: Iterable[str]) -> list[str]:
    """Those of these texts that a database can hold: a lone surrogate, as of an argument that is not UTF-8, is in none."""
    return [text for text in texts if text.isascii() or not _SURROGATE.search(text)]


def execute_in_chunks(
    connection: sqlite3.Connection, sql: str, values: Sequence[Any], size: int = PER_STATEMENT
) -> Iterator[tuple[Any, ...]]:
    """Run ``sql`` with ``{}`` replaced by so many ``?`` as there are values, a chunk at a time; yields the rows."""
    for chunk in in_chunks(values, size):
        yield from connection.execute(sql.format(", ".join("?" * len(chunk))), chunk).fetchall()
