"""The statements that bring rows into a SQL target, and take them out again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from mmmeta.target import mysql, postgresql
from mmmeta.target.cells import Row
from mmmeta.target.receipts import upserting
from mmmeta.target.tables import TargetTable

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table

Statement = Callable[["Connection", TargetTable, Sequence[Row]], None]
"""Carries out something with bound rows (``cells.bind``), inside the caller's transaction."""


def upsert(connection: Connection, there: TargetTable, rows: Sequence[Row]) -> None:
    """Insert the rows, or overwrite all of our columns where the unique value is there."""
    from sqlalchemy import bindparam, select

    if not mysql.is_one(connection.dialect.name):
        _insert(connection, there, rows, over=True)
        return
    if not rows:
        return
    # ON DUPLICATE KEY would overwrite another file's row that somebody's own index takes for the same.
    table = there.table
    bound = _named(table, rows)
    uniques = [row["u"] for row in bound]
    found = {str(name) for (name,) in connection.execute(select(table.c.u).where(table.c.u.in_(uniques)))}
    if new := [row for row in bound if row["u"] not in found]:
        connection.execute(table.insert(), new)
    # A parameter must not have a column's name in an UPDATE.
    if old := [{**row, "the_unique": row["u"]} for row in bound if row["u"] in found]:
        mine = mysql.exactly(connection.dialect, table.c.u, bindparam("the_unique"))
        connection.execute(table.update().where(mine), old)


def append(connection: Connection, there: TargetTable, rows: Sequence[Row]) -> None:
    """Add rows, whatever there is of their files already."""
    _insert(connection, there, rows, over=False)


def delete(connection: Connection, there: TargetTable, rows: Sequence[Row]) -> None:
    """Remove all rows of the files."""
    from sqlalchemy import bindparam

    if rows:
        table = there.table
        # A parameter must not have a column's name.
        unique: Any = bindparam("the_unique")
        dialect = connection.dialect
        mine = mysql.exactly(dialect, table.c.u, unique) if mysql.is_one(dialect.name) else table.c.u == unique
        connection.execute(table.delete().where(mine), [{"the_unique": row[0]} for row in rows])


def _insert(connection: Connection, there: TargetTable, rows: Sequence[Row], *, over: bool) -> None:
    """Insert the rows; ``over``: where the unique value is there, write over its row."""
    dialect = connection.dialect.name
    if not rows:
        return
    if dialect == "sqlite":
        connection.exec_driver_sql(_positional(there.table, over), list(rows))
    elif dialect != postgresql.NAME or len(rows) == 1 or not _insert_at_once(connection, there, rows, over=over):
        connection.execute(_insertion(there.table, dialect, over), _named(there.table, rows))


def _insert_at_once(connection: Connection, there: TargetTable, rows: Sequence[Row], *, over: bool) -> bool:
    """Insert the rows by one statement; False, and nothing is done, where only row after row keeps their values apart."""
    columns = there.columns.bound
    given = postgresql.unnested([own.kind for own in columns], rows, [there.types.get(own.name) for own in columns])
    if given is None:
        return False
    select, arrays = given
    quote = connection.dialect.identifier_preparer.quote_identifier
    unique, *others = (quote(own.name) for own in columns)
    sql = f"INSERT INTO {there.columns.table.quoted(connection)} ({', '.join((unique, *others))}) {select}"
    if over:
        written = ", ".join(f"{name} = excluded.{name}" for name in others)
        sql += f" ON CONFLICT ({unique}) DO {f'UPDATE SET {written}' if others else 'NOTHING'}"
    connection.exec_driver_sql(sql, tuple(arrays))
    return True


def _insertion(table: Table, dialect: str, over: bool) -> Any:
    """The same for one row, as SQLAlchemy has it."""
    insert = upserting(dialect)(table)
    if not over:
        return insert
    others = {column: insert.excluded[column.key] for column in table.c if column.key != "u"}
    if not others:
        return insert.on_conflict_do_nothing(index_elements=[table.c.u])
    return insert.on_conflict_do_update(index_elements=[table.c.u], set_=others)


@lru_cache(maxsize=16)
def _positional(table: Table, over: bool) -> str:
    """The same as SQLite takes it, with a ``?`` for each column of the table in order: it is written down once a table."""
    from sqlalchemy.dialects import sqlite

    compiled: Any = _insertion(table, "sqlite", over).compile(dialect=sqlite.dialect())
    assert compiled.positiontup == [column.key for column in table.c]
    return str(compiled)


def _named(table: Table, rows: Sequence[Row]) -> list[Mapping[str, Any]]:
    """The rows as SQLAlchemy takes them."""
    keys = [column.key for column in table.c]
    return [dict(zip(keys, row, strict=True)) for row in rows]
