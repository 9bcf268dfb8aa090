"""Whether a metadata db is built as mmmeta builds one.

Its tables are what a remote has made. A view in a table's place is a program: it may read without an end, or take other
values each time; so may generated columns, constraints, and indexes over expressions. None of them is needed, so what is
not written just as mmmeta writes it is refused before anything else is read.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence

from mmmeta.catalog.tables import CREATE_INFO, CREATE_REGISTRY
from mmmeta.sqlite.damage import Damage
from mmmeta.sqlite.statements import quote_identifier

CREATE_REVISIONS = """
CREATE TABLE revisions (
    rev INTEGER PRIMARY KEY,
    digest BLOB NOT NULL,
    at TEXT NOT NULL,
    added INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    mass_delete INTEGER NOT NULL
)"""

CREATE_SETASIDE = """
CREATE TABLE setaside (
    path TEXT NOT NULL,
    kind TEXT NOT NULL,
    reason TEXT NOT NULL,
    since TEXT NOT NULL
)"""

_LARGEST_STATEMENT = 1_000_000
"""Characters of what made a table; a thousand columns of long names take a tenth."""

_QUOTED = re.compile(r'"(?:[^"]|"")*"')


def _plain(sql: str) -> str:
    """A statement with every quoted name as ``@`` and every space as one."""
    return " ".join(_QUOTED.sub("@", sql).split())


_TABLES = {
    "info": re.compile(re.escape(_plain(CREATE_INFO))),
    "registry": re.compile(re.escape(_plain(CREATE_REGISTRY))),
    "revisions": re.compile(re.escape(_plain(CREATE_REVISIONS))),
    "setaside": re.compile(re.escape(_plain(CREATE_SETASIDE))),
    "files": re.compile(r"CREATE TABLE files \(@ TEXT PRIMARY KEY NOT NULL(, @)+\)"),
}
_NEEDED = ("info", "registry", "revisions", "files")
_INDEX = re.compile(r"CREATE INDEX (IF NOT EXISTS )?(@|\w+) ON (@|\w+) ?\((@|\w+)(, ?(@|\w+))*\)")


def prove_schema(connection: sqlite3.Connection, schema: str = "main", *, only: Sequence[str] = _NEEDED) -> None:
    """The tables of a metadata db are tables, with the columns and rules that mmmeta gives them, and nothing acts by itself.

    What a person has put beside them (other tables, views) is nobody's business here; it is not read.

    Args:
        only: of these tables.

    Raises:
        Damage: names the table.
    """
    rows = connection.execute(
        "SELECT type, name, tbl_name, rootpage, substr(sql, 1, ?) FROM "
        f"{quote_identifier(schema)}.sqlite_master WHERE tbl_name IN ({', '.join('?' * len(only))}) OR type = ?",
        (_LARGEST_STATEMENT + 1, *only, "trigger" if "files" in only else None),
    )
    found = set()
    for kind, name, table, root, sql in rows.fetchall():
        if kind == "table" and _is_as_made(name, root, sql):
            found.add(name)
        elif kind == "trigger":
            raise Damage("it has a trigger, which mmmeta never makes", schema)
        elif not (kind == "index" and _is_real(root) and (sql is None or _INDEX.fullmatch(_plain(sql)))):
            raise Damage(f"its table {table} is not one that mmmeta makes", schema)
    missing = sorted(set(only) - found)
    if missing:
        raise Damage(f"its table {missing[0]} is missing", schema)


def _is_as_made(name: object, root: object, sql: object) -> bool:
    return (
        isinstance(sql, str)
        and len(sql) <= _LARGEST_STATEMENT
        and _is_real(root)
        and _TABLES[str(name)].fullmatch(_plain(sql)) is not None
    )


def _is_real(root: object) -> bool:
    """Whether there are pages behind it, which a view or a virtual table has not."""
    return type(root) is int and root > 0
