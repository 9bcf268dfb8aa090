"""The statements that bring rows into a SQL target, and take them out again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmmeta.target import mysql
from mmmeta.target.receipts import upserting

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table

Statement = Callable[["Connection", "Table", Sequence[Mapping[str, Any]]], None]
"""Carries out something with bound rows (``TargetColumns.parameters``), inside the caller's transaction."""


def upsert(connection: Connection, table: Table, bound: Sequence[Mapping[str, Any]]) -> None:
    """Insert the rows, or overwrite all of our columns where the unique value is there."""
    from sqlalchemy import bindparam, select

    if not bound:
        return
    if not mysql.is_one(connection.dialect.name):
        insert = upserting(connection.dialect.name)(table)
        others = {column: insert.excluded[column.key] for column in table.c if column.key != "u"}
        statement = (
            insert.on_conflict_do_update(index_elements=[table.c.u], set_=others)
            if others
            else insert.on_conflict_do_nothing(index_elements=[table.c.u])
        )
        connection.execute(statement, list(bound))
        return
    # ON DUPLICATE KEY would overwrite another file's row that somebody's own index takes for the same.
    uniques = [row["u"] for row in bound]
    there = {str(found) for (found,) in connection.execute(select(table.c.u).where(table.c.u.in_(uniques)))}
    if new := [row for row in bound if row["u"] not in there]:
        connection.execute(table.insert(), new)
    # A parameter must not have a column's name in an UPDATE.
    if old := [{**row, "the_unique": row["u"]} for row in bound if row["u"] in there]:
        mine = mysql.exactly(connection.dialect, table.c.u, bindparam("the_unique"))
        connection.execute(table.update().where(mine), old)


def append(connection: Connection, table: Table, bound: Sequence[Mapping[str, Any]]) -> None:
    """Add rows, whatever there is of their files already."""
    if bound:
        connection.execute(table.insert(), list(bound))


def delete(connection: Connection, table: Table, bound: Sequence[Mapping[str, Any]]) -> None:
    """Remove all rows of the files."""
    from sqlalchemy import bindparam

    if bound:
        # A parameter must not have a column's name.
        unique: Any = bindparam("the_unique")
        dialect = connection.dialect
        mine = mysql.exactly(dialect, table.c.u, unique) if mysql.is_one(dialect.name) else table.c.u == unique
        connection.execute(table.delete().where(mine), [{"the_unique": row["u"]} for row in bound])
