"""The ledger under other names of the same files: copied from a state db in which something else identified them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from typing import NamedTuple

_RENAMED = "(SELECT r.new FROM temp.renamed AS r WHERE r.old = {0}.file)"


class Same(NamedTuple):
    """A file whose version, as a job compares it, is what it was; only its text differs.

    Attributes:
        old: its name until now.
        before, now: the texts.
    """

    old: str
    before: str
    now: str


def note_names(connection: sqlite3.Connection, names: Mapping[str, str]) -> None:
    """Old name → new name of every file that has another one now; before anything is copied."""
    connection.execute("CREATE TEMP TABLE renamed (old TEXT PRIMARY KEY, new TEXT NOT NULL UNIQUE) WITHOUT ROWID")
    connection.executemany("INSERT INTO temp.renamed VALUES (?, ?)", names.items())
    connection.execute("CREATE TEMP TABLE same (old TEXT PRIMARY KEY, before TEXT, now TEXT) WITHOUT ROWID")


def copy_job(connection: sqlite3.Connection, job: str, same: Iterable[Same]) -> None:
    """Copy one job with its rows out of the database that is attached as ``old``; the next evaluation looks at all of them."""
    connection.execute("DELETE FROM temp.same")
    connection.executemany("INSERT INTO temp.same VALUES (?, ?, ?)", same)
    jobs = _columns(connection, "jobs")
    connection.execute(
        f"INSERT INTO jobs ({jobs}) SELECT {jobs.replace('evaluated,', '0,', 1)} FROM old.jobs WHERE job = ?", (job,)
    )
    names = _columns(connection, "ledger").split(", ")
    version = "CASE WHEN l.wanted = s.before AND l.{0} = s.before THEN s.now ELSE l.{0} END"
    told = {
        "file": f"ifnull({_RENAMED.format('l')}, l.file)",
        # A row of a table, or a document, keeps the name that it was given.
        "place": "CASE WHEN l.target IS NULL THEN l.place ELSE ifnull(l.place, l.file) END",
        "replaced_by": "ifnull((SELECT r.new FROM temp.renamed AS r WHERE r.old = l.replaced_by), l.replaced_by)",
        **{name: version.format(name) for name in ("wanted", "tried", "basis")},
    }
    connection.execute(
        f"INSERT INTO ledger ({', '.join(names)}) SELECT {', '.join(told.get(name, f'l.{name}') for name in names)} "
        "FROM old.ledger AS l LEFT JOIN temp.same AS s ON s.old = l.file WHERE l.job = ?",
        (job,),
    )


def copy_rest(connection: sqlite3.Connection) -> None:
    """Copy what is known of places, and the history."""
    for table in ("targets", "places", "older_places", "attempts"):
        columns = _columns(connection, table)
        renamed = (
            columns.replace("file", f"ifnull({_RENAMED.format('t')}, t.file)", 1) if table != "targets" else columns
        )
        connection.execute(f"INSERT INTO {table} ({columns}) SELECT {renamed} FROM old.{table} AS t")


def _columns(connection: sqlite3.Connection, table: str) -> str:
    return ", ".join(row[1] for row in connection.execute(f"PRAGMA main.table_info({table})"))
