"""Small helpers for writing statements: names that any text may be, and more values than one statement takes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

from mmmeta.chunks import PER_STATEMENT, in_chunks


def quote_identifier(name: str) -> str:
    """A table or column name for SQL; any text is safe."""
    return '"' + name.replace('"', '""') + '"'


def execute_in_chunks(
    connection: sqlite3.Connection, sql: str, values: Sequence[Any], size: int = PER_STATEMENT
) -> Iterator[tuple[Any, ...]]:
    """Run ``sql`` with ``{}`` replaced by so many ``?`` as there are values, a chunk at a time; yields the rows."""
    for chunk in in_chunks(values, size):
        yield from connection.execute(sql.format(", ".join("?" * len(chunk))), chunk).fetchall()
