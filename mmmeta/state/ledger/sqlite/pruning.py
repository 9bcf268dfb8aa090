"""What the ledger can do without: old attempts, and rows of deleted files that no job has ever touched.

What a job has done with a file stays for as long as the job is known, for it is what keeps a file that comes back from
being done twice; it is a few hundred bytes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import NamedTuple

from mmmeta.chunks import PER_STATEMENT, in_chunks

_ATTEMPTS = (
    # Of what failed or is dead a person will want to know how it came to that, and waiting grows with refusals.
    "FROM attempts WHERE id > ? AND ended_at < ? AND NOT EXISTS (SELECT 1 FROM ledger WHERE ledger.job = attempts.job "
    "AND ledger.file = attempts.file AND ledger.status IN ('failed', 'dead'))"
)

_UNTOUCHED = (
    "status = 'skipped' AND deleted AND basis IS NULL AND tried IS NULL AND target IS NULL AND replaced_by IS NULL "
    "AND token <= (SELECT value FROM info WHERE name = 'token_base') AND NOT EXISTS "
    "(SELECT 1 FROM older_places AS o WHERE o.job = ledger.job AND o.file = ledger.file)"
)
"""A row of a file that was deleted before its turn: it says no more than that there is none."""


def count_old_attempts(connection: sqlite3.Connection, before: str) -> int:
    """How many attempts ended before a moment, those of failed and dead files left out."""
    (count,) = connection.execute(f"SELECT count(*) {_ATTEMPTS}", (0, before)).fetchone()
    return int(count)


def delete_old_attempts(connection: sqlite3.Connection, before: str, after: int, most: int) -> tuple[int, int | None]:
    """Remove so many of them at most, beyond a number; how many, and the number up to which was looked, None at the end."""
    ids = connection.execute(f"SELECT id {_ATTEMPTS} ORDER BY id LIMIT ?", (after, before, most)).fetchall()
    connection.executemany("DELETE FROM attempts WHERE id = ?", ids)
    return len(ids), ids[-1][0] if len(ids) == most else None


class Standing(NamedTuple):
    """What the ledger says of deleted files.

    Attributes:
        needed: files that a job has yet to settle or to hear of.
        known: files that have a row that stays; the others are not needed at all.
    """

    needed: frozenset[str]
    known: frozenset[str]


def standing(connection: sqlite3.Connection, files: Mapping[str, int]) -> Standing:
    """What jobs still make of these deleted files.

    Args:
        files: unique value → state revision in which the file came to be as it is.
    """
    needed, known = set(), set()
    for chunk in in_chunks(files, PER_STATEMENT):
        rows = connection.execute(
            "SELECT ledger.file, ledger.status IN ('done', 'skipped') AND NOT ledger.retract AND ledger.deleted, "
            f"jobs.evaluated, {_UNTOUCHED} FROM jobs CROSS JOIN ledger ON ledger.job = jobs.job "
            f"WHERE ledger.file IN ({', '.join('?' * len(chunk))})",
            chunk,
        )
        for file, settled, evaluated, untouched in rows:
            if not settled or evaluated < files[file]:
                needed.add(file)
            if not untouched:
                known.add(file)
    return Standing(frozenset(needed), frozenset(known))


def delete_untouched(connection: sqlite3.Connection, files: list[str], *, dry_run: bool) -> int:
    """Remove the rows of these files that no job has touched; how many."""
    count = 0
    for chunk in in_chunks(files, PER_STATEMENT):
        which = f"WHERE job IN (SELECT job FROM jobs) AND file IN ({', '.join('?' * len(chunk))}) AND {_UNTOUCHED}"
        if dry_run:
            count += connection.execute(f"SELECT count(*) FROM ledger {which}", chunk).fetchone()[0]
        else:
            count += connection.execute(f"DELETE FROM ledger {which}", chunk).rowcount
    return count
