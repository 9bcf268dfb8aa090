"""What generate has set aside, kept in the metadata db so that it travels to clients: ``why`` says it there, too.

It is no part of any revision: the digest does not know it, nobody is woken by it, and a client that has never heard of the
table is not disturbed. A row goes when its metadata file was read again without that problem, or is gone.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mmmeta.catalog.tables import read_info, write_info
from mmmeta.clock import from_text
from mmmeta.metadata.database import MetadataDatabase
from mmmeta.metadata.schema import CREATE_SETASIDE, prove_schema
from mmmeta.sqlite.damage import Damage

KEPT = 1_000
"""Rows that a metadata db keeps; all are counted."""

LONGEST = 1_000
"""Characters of a path or reason that are kept, and believed."""

PROBLEM = "problem"
DUPLICATE = "duplicate"
"""Another metadata file with the same unique value counts."""

COUNT = "setaside"
"""Entry of ``info``: how many problems there were in all."""


@dataclass(frozen=True)
class SetAside:
    """A metadata file that the metadata db does not have, or not as it is now.

    Attributes:
        path: relative to the files root.
        reason: a sentence.
        kind: ``PROBLEM`` or ``DUPLICATE``.
        since: aware UTC, by the server's clock; when a generate first met it so. None where nobody knows.
    """

    path: str
    reason: str
    kind: str = PROBLEM
    since: datetime | None = None


@dataclass(frozen=True)
class AllSetAside:
    """What was set aside: the first 1,000 rows, in the order of their paths, and how many problems there were in all."""

    rows: tuple[SetAside, ...] = ()
    problems: int = 0


def known_set_aside(connection: sqlite3.Connection) -> list[tuple[str, str, str]]:
    """Path, kind and reason of what is noted, as the server's own transaction sees it."""
    return connection.execute("SELECT path, kind, reason FROM setaside").fetchall() if _is_there(connection) else []


def note_set_aside(
    connection: sqlite3.Connection, found: Iterable[tuple[str, str, str]], problems: int, now: str
) -> None:
    """Make the table hold this, in the caller's transaction; nothing is written where it does already.

    Args:
        found: path, kind, reason; the first ``KEPT`` are kept.
        problems: how many problems there are in all.
    """
    wanted: dict[tuple[str, str, str], None] = {}
    for path, kind, reason in found:
        if len(wanted) == KEPT:
            break
        wanted[_plain(path), kind, _plain(reason)] = None
    is_there = _is_there(connection)
    if not is_there and not wanted:
        return
    if not is_there:
        connection.execute(CREATE_SETASIDE)
    known = {
        (path, kind, reason): since
        for path, kind, reason, since in connection.execute("SELECT path, kind, reason, since FROM setaside")
    }
    if read_info(connection).get(COUNT) != problems:
        write_info(connection, **{COUNT: problems})
    if known.keys() == wanted.keys():
        return
    connection.execute("DELETE FROM setaside")
    connection.executemany(
        "INSERT INTO setaside (path, kind, reason, since) VALUES (?, ?, ?, ?)",
        [(*one, known.get(one, now)) for one in sorted(wanted)],
    )


def read_set_aside(database: MetadataDatabase) -> AllSetAside:
    """What the metadata db says of it; nothing where it has no such table.

    Raises:
        MmmetaError: the metadata db cannot be read, or the table is not one that mmmeta makes.
    """
    with database.reading() as connection:
        if not _is_there(connection):
            return AllSetAside()
        prove_schema(connection, only=("setaside",))
        try:
            return set_aside_of(rows_of(connection), read_info(connection).get(COUNT))
        except ValueError as error:
            raise Damage(f"its table setaside {error}") from None


def rows_of(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
    """Path, kind, reason and moment of what is noted, no longer than it may be."""
    if not _is_there(connection):
        return []
    return connection.execute(
        f"SELECT substr(path, 1, {LONGEST}), substr(kind, 1, 20), substr(reason, 1, {LONGEST}), substr(since, 1, 40) "
        "FROM setaside ORDER BY path, kind, reason LIMIT ?",
        (KEPT,),
    ).fetchall()


def set_aside_of(rows: Sequence[tuple[Any, ...]], count: object) -> AllSetAside:
    """What a remote's rows and count say.

    Raises:
        ValueError: they are not what mmmeta writes.
    """
    if any(len(row) != 4 or any(type(value) is not str for value in row) for row in rows):
        raise ValueError("has a cell that is no text")
    found = tuple(
        SetAside(path[:LONGEST], reason[:LONGEST], kind[:20], _moment(since)) for path, kind, reason, since in rows
    )
    problems = sum(row.kind == PROBLEM for row in found)
    return AllSetAside(found, max(count, problems) if type(count) is int else problems)


def matching(rows: Collection[SetAside], paths: Collection[str]) -> list[SetAside]:
    """Those that lie at one of these paths, or have that name in whatever folder."""
    ends = tuple(f"/{path}" for path in paths)
    return [row for row in rows if row.path in paths or row.path.endswith(ends)]


def _is_there(connection: sqlite3.Connection) -> bool:
    found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'setaside'").fetchone()
    return found is not None


def _plain(text: str) -> str:
    """As SQLite takes it: names that are no UTF-8 with escapes."""
    return text.encode("utf-8", "backslashreplace").decode()[:LONGEST]


def _moment(text: str) -> datetime | None:
    try:
        return from_text(text)
    except (ValueError, OverflowError):
        return None
