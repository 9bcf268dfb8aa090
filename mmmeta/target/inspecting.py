"""What columns and keys a table has, as SQLAlchemy describes them.

Of MariaDB and MySQL SQLAlchemy reads the text of CREATE TABLE, and stumbles over names with backticks and line breaks, so there
the server is asked itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mmmeta.target import mysql
from mmmeta.target.names import TableName

if TYPE_CHECKING:
    from sqlalchemy import Connection


class Key(NamedTuple):
    """An index, or a constraint that has one."""

    columns: Sequence[str | None]
    unique: bool


def describe(connection: Connection, table: TableName) -> list[Mapping[str, Any]]:
    """The columns of a table, in order: ``name``, ``type``, ``nullable``, ``default``, ``computed`` …

    Raises:
        sqlalchemy.exc.NoSuchTableError: there is no such table.
    """
    from sqlalchemy import exc, inspect

    if not mysql.is_one(connection.dialect.name):
        return [dict(column) for column in inspect(connection).get_columns(table.name, table.schema)]
    rows = connection.exec_driver_sql(
        "SELECT column_name, data_type, character_maximum_length, is_nullable, column_default, extra, column_key "
        "FROM information_schema.columns WHERE table_schema = coalesce(%s, database()) AND table_name = %s "
        "ORDER BY ordinal_position",
        (table.schema, table.name),
    ).all()
    if not rows:
        raise exc.NoSuchTableError(str(table))
    return [
        {
            "name": name,
            "type": mysql.type_of(kind.lower(), length),
            "nullable": nullable == "YES",
            "default": default,
            "autoincrement": "auto_increment" in extra.lower(),
            "computed": "GENERATED" in extra and "DEFAULT_GENERATED" not in extra,
            "primary_key": key == "PRI",
        }
        for name, kind, length, nullable, default, extra, key in rows
    ]


def keys_of(connection: Connection, table: TableName) -> list[Key]:
    """The keys of a table; partial indexes, which make nothing unique, count as not unique."""
    from sqlalchemy import inspect

    if mysql.is_one(connection.dialect.name):
        rows = connection.exec_driver_sql(
            "SELECT index_name, column_name, non_unique, sub_part FROM information_schema.statistics "
            "WHERE table_schema = coalesce(%s, database()) AND table_name = %s ORDER BY index_name, seq_in_index",
            (table.schema, table.name),
        ).all()
        names = dict.fromkeys(row[0] for row in rows)
        parts = [[row for row in rows if row[0] == name] for name in names]
        # What is unique in its beginning only tells too few apart.
        return [Key([row[1] for row in part], not part[0][2] and all(row[3] is None for row in part)) for part in parts]
    inspector = inspect(connection)
    where = (table.name, table.schema)
    keys = [Key(inspector.get_pk_constraint(*where)["constrained_columns"], True)]
    keys += [Key(constraint["column_names"], True) for constraint in inspector.get_unique_constraints(*where)]
    for index in inspector.get_indexes(*where):
        partial = any(option.endswith("_where") for option in index.get("dialect_options", {}))
        keys.append(Key(index["column_names"], bool(index["unique"]) and not partial))
    return keys
