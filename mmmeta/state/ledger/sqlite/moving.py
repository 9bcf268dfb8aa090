"""Results that somebody has moved: the ledger is told that what was below one folder is below another one now."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

_URLS = ("", "sqlite:///", "duckdb:///")
"""What stands before a path in the name of a target."""

_NEXT = ("/", ", table ")
"""What may follow the path of a folder, or of a database."""


def relocated(target: str, old: str, new: str) -> str | None:
    """The name of a target, or of a place in it, with the one folder or file in place of the other; None where it lies
    elsewhere."""
    for url in _URLS:
        before, rest = url + old, target[len(url + old) :]
        if target.startswith(before) and (not rest or rest.startswith(_NEXT)):
            return url + new + rest
    return None


def count_below(connection: sqlite3.Connection, places: Sequence[str]) -> dict[str, int]:
    """Job → how many of its results are at or below these paths."""
    counts: dict[str, int] = {}
    for one, job, target in connection.execute("SELECT id, job, target FROM targets ORDER BY job, id").fetchall():
        if any(relocated(target, place, place) is not None for place in places):
            sql = "SELECT count(*) FROM ledger WHERE job = ? AND target = ?"
            counts[job] = counts.get(job, 0) + int(connection.execute(sql, (job, one)).fetchone()[0])
    return counts


def databases_at(connection: sqlite3.Connection, places: Sequence[str]) -> set[str]:
    """What kinds of database jobs have written into at just these paths, ``sqlite`` or ``duckdb``; none where they are
    folders."""
    names = [str(target) for (target,) in connection.execute("SELECT target FROM targets")]
    kinds = [(url, place) for url in _URLS if url for place in places]
    return {url.partition(":")[0] for url, place in kinds for name in names if name.startswith(f"{url}{place}, table ")}


def move(connection: sqlite3.Connection, old: str, new: str) -> None:
    """Write the new path wherever the ledger has the old one; in the caller's transaction."""
    for one, job, target, naming in connection.execute("SELECT id, job, target, naming FROM targets").fetchall():
        there = relocated(target, old, new)
        if there is None or there == target:
            continue
        same = connection.execute(
            "SELECT id FROM targets WHERE job = ? AND target = ? AND naming = ?", (job, there, naming)
        ).fetchone()
        if same is None:
            connection.execute("UPDATE targets SET target = ? WHERE id = ?", (there, one))
        else:  # the job has pointed there before
            connection.execute("UPDATE ledger SET target = ? WHERE job = ? AND target = ?", (same[0], job, one))
            connection.execute("DELETE FROM targets WHERE id = ?", (one,))
    connection.create_function("mmmeta_relocated", 1, _function(old, new), deterministic=True)
    for table, column in (("places", "place"), ("older_places", "target")):
        connection.execute(
            f"UPDATE OR REPLACE {table} SET {column} = mmmeta_relocated({column}) WHERE mmmeta_relocated({column}) <> {column}"
        )


def _function(old: str, new: str) -> Callable[[str], str | None]:
    return lambda name: relocated(name, old, new)
