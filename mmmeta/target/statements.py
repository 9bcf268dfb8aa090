"""The statements that bring rows into a SQL target, and take them out again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

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
    if connection.dialect.name in ("sqlite", "postgresql"):
        insert = upserting(connection.dialect.name)(table)
        others = {column: insert.excluded[column.key] for column in table.c if column.key != "u"}
        statement = (
            insert.on_conflict_do_update(index_elements=[table.c.u], set_=others)
            if others
            else insert.on_conflict_do_nothing(index_elements=[table.c.u])
        )
        connection.execute(statement, list(bound))
        return
    uniques = [row["u"] for row in bound]
    there = {str(found) for (found,) in connection.execute(select(table.c.u).where(table.c.u.in_(uniques)))}
    if new := [row for row in bound if row["u"] not in there]:
        connection.execute(table.insert(), new)
    # A parameter must not have a column's name in an UPDATE.
    if old := [{**row, "the_unique": row["u"]} for row in bound if row["u"] in there]:
        connection.execute(table.update().where(table.c.u == bindparam("the_unique")), old)


def append(connection: Connection, table: Table, bound: Sequence[Mapping[str, Any]]) -> None:
    """Add rows, whatever there is of their files already."""
    if bound:
        connection.execute(table.insert(), list(bound))


def delete(connection: Connection, table: Table, bound: Sequence[Mapping[str, Any]]) -> None:
    """Remove all rows of the files."""
    from sqlalchemy import bindparam

    if bound:
        # A parameter must not have a column's name.
        statement = table.delete().where(table.c.u == bindparam("the_unique"))
        connection.execute(statement, [{"the_unique": row["u"]} for row in bound])
