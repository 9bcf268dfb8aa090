"""Indexes over metadata keys: which keys of a selection one helps, which there are, and making those that are missing.

An index makes the state db larger and each merge a little slower. So keys that a job selects on get one, and no others;
``files.create_index`` makes more for those who ask for them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

from mmmeta.catalog.catalog import Catalog
from mmmeta.catalog.columns import REMOTE
from mmmeta.catalog.comparison import caseless
from mmmeta.catalog.compiler import Compiler
from mmmeta.catalog.expressions import FALSE, SystemExpression
from mmmeta.errors import MmmetaError, near_misses
from mmmeta.filters import All, Compare, Condition
from mmmeta.sqlite.database import Database
from mmmeta.sqlite.statements import quote_identifier

MOST = 3
"""Keys of one condition that get an index; SQLite uses one of them at a time, and each costs space and writing."""

_ASKING = frozenset({"=", "in", "<", "<=", ">", ">=", "between", "startswith"})
"""Operators that ask for one stretch of an index, or several; the others look at every value."""


def helped_keys(compiler: Compiler, condition: Condition) -> list[str]:
    """The keys of a condition that an index would help, in its order, three at most."""
    helped = (comparison.key for comparison in _required(condition) if _is_helped(compiler, comparison))
    return list(dict.fromkeys(helped))[:MOST]


def _required(condition: Condition) -> Iterator[Compare]:
    """The comparisons that each file has to fulfil, whatever the others say."""
    if isinstance(condition, Compare):
        yield condition
    elif isinstance(condition, All):
        for part in condition.parts:
            yield from _required(part)


def _is_helped(compiler: Compiler, comparison: Compare) -> bool:
    """Whether an index over the key answers the comparison."""
    values = comparison.value if isinstance(comparison.value, tuple) else (comparison.value,)
    # Null, true and false mean files without the key as well, and usually about half of all.
    if comparison.op not in _ASKING or any(value is None or isinstance(value, bool) for value in values):
        return False
    if comparison.op == "startswith" and not caseless(str(comparison.value)):
        return False  # its letters stand in the index in two places
    expressions = compiler.expressions(comparison.key)
    # Where the client has values of its own they come first, and SQLite has to look at both.
    if len(expressions) != 1 or expressions[0].owner != REMOTE:
        return False
    if expressions[0].shared or isinstance(expressions[0], SystemExpression):
        return False
    # False: no file has a value of such a type yet.
    return compiler.compile(comparison).sql != FALSE


def index_columns(catalog: Catalog, keys: Sequence[str]) -> list[str]:
    """The columns, as they are called in the database, of an index over keys.

    Raises:
        MmmetaError: no file has such a key, or it shares the column for rare keys.
    """
    columns = []
    for key in keys:
        expressions = catalog.compiler.expressions(key)
        if not expressions:
            raise MmmetaError(f"no file has the key {key!r}.{near_misses(key, catalog.keys)}")
        if any(expression.shared for expression in expressions):
            raise MmmetaError(f"{key!r} is one of the rare keys that share a column; it cannot have an index")
        columns.append(expressions[-1].column)
    return columns


def indexed_columns(connection: sqlite3.Connection) -> list[list[str | None]]:
    """The columns of each index that holds all files, in its order; None for one that is over an expression."""
    names = connection.execute("SELECT name FROM pragma_index_list('files') WHERE NOT partial").fetchall()
    query = "SELECT name FROM pragma_index_info(?) ORDER BY seqno"
    return [[column for (column,) in connection.execute(query, name)] for name in names]


def has_index(database: Database, columns: Sequence[str]) -> bool:
    """Whether an index over exactly these columns exists."""
    with database.reading() as connection:
        return list(columns) in indexed_columns(connection)


def create_index(database: Database, keys: Sequence[str], columns: Sequence[str], name: str | None = None) -> None:
    """Make an index over the columns of keys, in a transaction of its own; where there is one nothing is changed.

    Args:
        name: ``files_by_<key>`` unless given; under another name one is made beside one that is there.
    """
    with database.atomic() as connection:
        if name or list(columns) not in indexed_columns(connection):
            make_index(connection, keys, columns, name)


def make_index(
    connection: sqlite3.Connection, keys: Sequence[str], columns: Sequence[str], name: str | None = None
) -> None:
    """Make an index over the columns of keys; one of the same name is left as it is.

    Args:
        name: ``files_by_<key>`` unless given, with ``_`` behind it where that is taken.
    """
    cells = ", ".join(quote_identifier(column) for column in columns)
    name = name or _free_name(connection, keys)
    connection.execute(f"CREATE INDEX IF NOT EXISTS {quote_identifier(name)} ON files ({cells})")


def make_missing(connection: sqlite3.Connection, catalog: Catalog, condition: Condition) -> tuple[str, ...]:
    """Make the indexes that help a condition and are not there, in the caller's transaction; the keys that got one."""
    keys = helped_keys(catalog.compiler, condition)
    if not keys:
        return ()
    # One over several keys answers for the first of them.
    first = {columns[0] for columns in indexed_columns(connection)}
    made = []
    for key in keys:
        columns = index_columns(catalog, [key])
        if columns[0] not in first:
            make_index(connection, [key], columns)
            made.append(key)
    return tuple(made)


def _free_name(connection: sqlite3.Connection, keys: Sequence[str]) -> str:
    # Keys that differ only by case, or `a_b` beside the keys `a` and `b`, would give the same name.
    taken = {name.lower() for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    name = f"files_by_{'_'.join(keys)}".replace("\0", "_")
    while name.lower() in taken:
        name += "_"
    return name
