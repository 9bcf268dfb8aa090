"""What was decided about a target's columns, kept in the target itself, so that a key has the same column in every run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from mmmeta.target import mysql
from mmmeta.target.columns import TargetColumn
from mmmeta.target.names import TableName

if TYPE_CHECKING:
    from sqlalchemy import Connection, Dialect, Table

REGISTRY = "_mmmeta_columns"
"""Renaming it gives keys with mangled names new columns."""


def registry_table(dialect: str, schema: str | None = None, making: Dialect | None = None) -> Table:
    """The table that remembers which key has which column.

    Args:
        making: of a connection to the database where it is to be made; needed for MariaDB and MySQL, where no key can be
            as long as a metadata key.
    """
    from sqlalchemy import BigInteger, Column, MetaData, Table, Text

    one = mysql.is_one(dialect)
    text = mysql.text_type(making) if making is not None and one else Text()
    return Table(
        REGISTRY,
        MetaData(),
        *([Column("id", BigInteger, primary_key=True)] if one else []),
        Column("table_name", text, primary_key=not one, nullable=False),
        Column("metadata_key", text, primary_key=not one, nullable=False),
        Column("column_name", text, nullable=False),
        Column("kind", text, nullable=False),
        Column("version", BigInteger, nullable=False),
        schema=schema,
        **mysql.OPTIONS,
    )


@lru_cache(maxsize=16)
def _known_table(dialect: str, schema: str | None) -> Table:
    """The same table each time, so that SQLAlchemy knows its statements again."""
    return registry_table(dialect, schema)


def read_version(connection: Connection, table: TableName) -> int:
    """The version of a target's columns; 0 where nothing was made yet."""
    from sqlalchemy import func, select

    registry = _known_table(connection.dialect.name, table.schema)
    mine = registry.c.table_name == _registered(connection, table)
    return int(connection.execute(select(func.max(registry.c.version)).where(mine)).scalar() or 0)


def read_registry(connection: Connection, table: TableName) -> dict[str, TargetColumn]:
    """Key → column, as it was decided, for all jobs that write into a table; its registry is there."""
    from sqlalchemy import select

    registry = _known_table(connection.dialect.name, table.schema)
    query = select(registry.c.metadata_key, registry.c.column_name, registry.c.kind)
    query = query.where(registry.c.table_name == _registered(connection, table))
    return {
        _unescape(key): TargetColumn(_unescape(key), name, kind)
        for key, name, kind in connection.execute(query.order_by(registry.c.version, registry.c.metadata_key))
    }


def register(connection: Connection, table: TableName, columns: Sequence[TargetColumn], version: int) -> None:
    """Remember which keys have these columns from this version on."""
    if not columns:
        return
    registry = _known_table(connection.dialect.name, table.schema)
    mine = _registered(connection, table)
    for column in columns:
        connection.execute(
            registry.delete().where(registry.c.table_name == mine, registry.c.metadata_key == _escape(column.key))
        )
    rows = [
        {
            "table_name": mine,
            "metadata_key": _escape(column.key),
            "column_name": column.name,
            "kind": column.kind,
            "version": version,
        }
        for column in columns
    ]
    connection.execute(registry.insert(), rows)


def forget(connection: Connection, table: TableName) -> None:
    """Forget what was decided for a table of this name."""
    registry = _known_table(connection.dialect.name, table.schema)
    connection.execute(registry.delete().where(registry.c.table_name == _registered(connection, table)))


def _registered(connection: Connection, table: TableName) -> str:
    """The table's name in the registry of its schema: SQLite does not tell upper from lower case."""
    return table.name.lower() if connection.dialect.name == "sqlite" else table.name


def _escape(key: str) -> str:
    """A key as PostgreSQL can keep it, which has no NUL."""
    return key.replace("\\", "\\\\").replace("\0", "\\0")


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: "\0" if match[1] == "0" else match[1], text, flags=re.DOTALL)
