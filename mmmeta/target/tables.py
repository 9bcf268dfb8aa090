"""The tables of a SQL target: which SQL types columns have; makes the table, adds and widens columns, reads which there are."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mmmeta.target import mysql, postgresql
from mmmeta.target.columns import ROWS, TargetColumn, TargetColumns, WantedColumns, folded
from mmmeta.target.fitness import (
    Unfit,
    refuse_another_identity,
    refuse_another_type,
    refuse_made_by_database,
    refuse_view,
    refuse_without_transactions,
    required_columns,
)
from mmmeta.target.inspecting import describe, keys_of
from mmmeta.target.names import OVERFLOW, TableName
from mmmeta.target.receipts import create_receipts
from mmmeta.target.registry import REGISTRY, forget, read_registry, read_version, register, registry_table

if TYPE_CHECKING:
    from sqlalchemy import Connection, Dialect, Table

SQL_TYPES = {
    "any": "",
    "boolean": "BOOLEAN",
    "integer": "BIGINT",
    "float": "DOUBLE PRECISION",
    "number": "NUMERIC",
    "text": "TEXT",
    "null": "TEXT",
    "bytes": "BLOB",
}
"""Kind → type in SQL. ``any`` is SQLite's column without affinity: it changes no value."""

BYTES = {"postgresql": "BYTEA", **dict.fromkeys(mysql.DIALECTS, "LONGBLOB")}
"""Where bytes are called otherwise."""


class TargetTable(NamedTuple):
    """A target at one moment: what its columns hold, and the table that statements are made of.

    Attributes:
        types: as ``postgresql.types_of_columns`` has them; empty elsewhere.
    """

    columns: TargetColumns
    table: Table
    types: Mapping[str, str]


def target_table(connection: Connection, columns: TargetColumns) -> TargetTable:
    """The target of these columns."""
    there = connection.dialect.name == postgresql.NAME
    types = postgresql.types_of_columns(connection, columns.table) if there else {}
    return TargetTable(columns, sqlalchemy_table(columns), types)


def sqlalchemy_table(columns: TargetColumns) -> Table:
    """The target for statements: its columns have the keys ``u``, ``c0`` …, ``more``, so no name can disturb."""
    from sqlalchemy import BigInteger, Boolean, Column, Float, LargeBinary, MetaData, Numeric, Table, Text
    from sqlalchemy.sql import quoted_name
    from sqlalchemy.types import NullType

    types: dict[str, Any] = {
        "boolean": Boolean(create_constraint=False),
        "integer": BigInteger(),
        "float": Float(),
        "number": Numeric(),
        "text": Text(),
        "null": Text(),
        "bytes": LargeBinary(),
    }
    bound = [TargetColumn("u", columns.unique.name, columns.unique.kind)]
    bound += [TargetColumn(f"c{index}", own.name, own.kind) for index, own in enumerate(columns.by_key.values())]
    bound += [TargetColumn("more", OVERFLOW, "text")] if columns.overflows else []
    schema = columns.table.schema
    return Table(
        quoted_name(columns.table.name, True),
        MetaData(),
        *(Column(quoted_name(own.name, True), types.get(own.kind, NullType()), key=own.key) for own in bound),
        schema=None if schema is None else quoted_name(schema, True),
    )


def read_columns(
    connection: Connection, table: TableName, wanted: WantedColumns, fixed: Mapping[str, str]
) -> TargetColumns | None:
    """The columns as they are; None where the table or the column of the unique key has to be made first."""
    from sqlalchemy import inspect

    inspector = inspect(connection)
    if not table.is_there(inspector) or not table.beside(REGISTRY).is_there(inspector):
        return None
    described = describe(connection, table)
    actual = {str(column["name"]) for column in described}
    # A column that somebody dropped is made again when its key comes.
    known = {key: column for key, column in read_registry(connection, table).items() if column.name in actual}
    dialect = connection.dialect.name
    unique = known.pop(wanted.unique, None)
    if unique is None or unique.kind != wanted.unique_kind:
        return None
    return TargetColumns(
        dialect=dialect,
        table=table,
        unique=unique,
        by_key={key: column for key, column in known.items() if wanted.writes(key)},
        taken=frozenset(folded(name, dialect) for name in actual),
        version=read_version(connection, table),
        wanted=wanted,
        registered=frozenset(column.name for column in (unique, *known.values())),
        required=required_columns(described),
        fixed=fixed,
    )


def prepare(
    connection: Connection,
    table: TableName,
    wanted: WantedColumns,
    rows: Sequence[Mapping[str, Any]],
    fixed: dict[str, str],
) -> None:
    """Make what is missing for these rows: the tables, the index, columns. One transaction, the caller's.

    A table that is there already is used as it is: its columns keep their types, and it gets an index where the unique
    key has none. A column that cannot be widened is named in ``fixed`` with the reason.

    Raises:
        Unfit: the table does not fit the job: an upsert needs the unique key to be unique, ``append`` needs it not to
            be, what it demands is not there, or its columns take no value of their keys.
        TargetError: the name of a chosen column is not free.
    """
    from sqlalchemy import inspect

    dialect = connection.dialect.name
    if dialect == "postgresql":
        # Workers of one job make the same table at the same time; IF NOT EXISTS does not wait there.
        lock = int.from_bytes(hashlib.blake2b(str(table).encode(), digest_size=8).digest(), "big", signed=True)
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({lock})")
    registry = registry_table(dialect, table.schema, connection.dialect)
    registry.create(connection, checkfirst=True)
    create_receipts(connection, table.schema)
    version = read_version(connection, table) + 1
    if not table.is_there(inspect(connection)):
        _create(connection, table, wanted, rows, version)
        return
    columns = read_columns(connection, table, wanted, fixed)
    if columns is None:
        refuse_view(inspect(connection), table)
        refuse_without_transactions(connection, table)
        _adopt_unique(connection, table, wanted, version, rows)
        columns = read_columns(connection, table, wanted, fixed)
        assert columns is not None
    needs = columns.needs(rows)
    _widen(connection, columns, {key: kind for key, kind in needs.items() if key in columns.by_key}, version, fixed)
    _add(connection, columns, {key: kind for key, kind in needs.items() if key not in columns.by_key}, version, rows)


def _create(
    connection: Connection, table: TableName, wanted: WantedColumns, rows: Sequence[Mapping[str, Any]], version: int
) -> None:
    """A new table with all columns of the first batch at once: one statement instead of one a column."""
    dialect = connection.dialect.name
    own = TargetColumn(wanted.unique, wanted.name(wanted.unique, (), dialect), wanted.unique_kind)
    empty = TargetColumns(dialect, table, own, {}, frozenset({folded(own.name, dialect)}), version, wanted)
    added, overflow = _new_columns(empty, empty.needs(rows), {})
    quote = connection.dialect.identifier_preparer.quote_identifier
    parts = [f"{quote(own.name)} {_unique_type(connection.dialect)} NOT NULL{'' if wanted.append else ' PRIMARY KEY'}"]
    parts += [f"{quote(column.name)} {sql_type(column.kind, connection.dialect)}" for column in (*added, *overflow)]
    engine = f" ENGINE = {mysql.ENGINE}" if mysql.is_one(dialect) else ""
    connection.exec_driver_sql(f"CREATE TABLE {table.quoted(connection)} ({', '.join(parts)}){engine}")
    if wanted.append:
        _index(connection, table, own.name, unique=False)
    # A table of this name may have been dropped, with other columns.
    forget(connection, table)
    register(connection, table, [own, *added], version)


def sql_type(kind: str, dialect: Dialect) -> str:
    """The type of a column of this kind."""
    if kind == "bytes":
        return BYTES.get(dialect.name, SQL_TYPES[kind])
    return mysql.text_in_sql(dialect) if mysql.is_one(dialect.name) else SQL_TYPES[kind]


def _unique_type(dialect: Dialect) -> str:
    """The type of the unique key's column, which has an index."""
    return mysql.text_in_sql(dialect, mysql.ID_CHARACTERS) if mysql.is_one(dialect.name) else SQL_TYPES["text"]


def _adopt_unique(
    connection: Connection, table: TableName, wanted: WantedColumns, version: int, rows: Sequence[Mapping[str, Any]]
) -> None:
    """Use, or add, the unique key's column of a table that somebody else made, and give it the index it needs."""
    from sqlalchemy import exc

    described = {str(column["name"]): column for column in describe(connection, table)}
    actual = described.keys()
    quote = connection.dialect.identifier_preparer.quote_identifier
    own = TargetColumn(wanted.unique, wanted.names.get(wanted.unique, wanted.unique), wanted.unique_kind)
    known = read_registry(connection, table)
    if not wanted.append and wanted.unique in known and known[wanted.unique].kind == ROWS:
        # The index that an upsert needs would refuse the next version of a file.
        raise Unfit(
            f"table {str(table)!r} has a row for each version, from a job with `mode: append`. Give the job another table, or "
            "drop this one"
        )
    refuse_another_identity(connection, table, wanted, known, actual, rows)
    others = {column.name for key, column in known.items() if key != own.key}
    if own.name not in actual or own.name in others:
        dialect = connection.dialect.name
        name = wanted.name(wanted.unique, {folded(name, dialect) for name in actual}, dialect)
        own = TargetColumn(wanted.unique, name, wanted.unique_kind)
        kind = _unique_type(connection.dialect)
        connection.exec_driver_sql(f"ALTER TABLE {table.quoted(connection)} ADD COLUMN {quote(own.name)} {kind}")
    else:
        refuse_made_by_database(table, described[own.name])
    keys = keys_of(connection, table)
    uniques = [list(key.columns) for key in keys if key.unique]
    if wanted.append and [own.name] in uniques:
        raise Unfit(
            f"table {str(table)!r} takes one row for each {own.name!r} only, and `mode: append` adds one for each version. "
            "Give the job another table, or `mode: upsert`"
        )
    if not wanted.append and [own.name] not in uniques:
        try:
            _index(connection, table, own.name, unique=True)
        except exc.IntegrityError as error:
            raise Unfit(
                f"table {str(table)!r} has several rows with the same {own.name!r}; an upsert needs it to be unique"
            ) from error
    if wanted.append and not any(list(key.columns[:1]) == [own.name] for key in keys):
        _index(connection, table, own.name, unique=False)
    register(connection, table, [own], version)


def _index(connection: Connection, table: TableName, column: str, *, unique: bool) -> None:
    from sqlalchemy import exc

    quote = connection.dialect.identifier_preparer.quote_identifier
    word = "unique" if unique else "rows"
    mark = hashlib.blake2b(f"{table}\0{column}".encode(), digest_size=6).hexdigest()
    index = quote(f"_mmmeta_{word}_{mark}")
    on = f"{table.quoted(connection)} ({quote(column)})"
    try:
        connection.exec_driver_sql(f"CREATE {'UNIQUE ' if unique else ''}INDEX {index} ON {on}")
    except exc.DBAPIError as error:
        if mysql.number_of(error) in mysql.NO_INDEX:
            needed = f"VARCHAR({mysql.ID_CHARACTERS})"
            raise Unfit(
                f"table {str(table)!r}: the column {column!r} cannot have the index that it needs; make it {needed}"
            ) from error
        raise


def _add(
    connection: Connection,
    columns: TargetColumns,
    kinds: Mapping[str, str],
    version: int,
    rows: Sequence[Mapping[str, Any]],
) -> None:

    if not kinds:
        return
    table = columns.table
    described = {str(column["name"]): column for column in describe(connection, table)}
    named = {key: columns.wanted.names.get(key, key) for key in kinds}
    adopted = {
        key: TargetColumn(key, name, "own")
        for key, name in named.items()
        if name in described and name not in columns.registered
    }
    strict = _is_strict(connection, table)
    for key, column in adopted.items():
        refuse_made_by_database(table, described[column.name])
        if strict or connection.dialect.name != "sqlite":
            refuse_another_type(table, key, described[column.name], rows)
    added, overflow = _new_columns(columns, kinds, adopted)
    quote = connection.dialect.identifier_preparer.quote_identifier
    for column in (*added, *overflow):
        kind = "ANY" if strict else sql_type(column.kind, connection.dialect)
        statement = f"ALTER TABLE {columns.table.quoted(connection)} ADD COLUMN {quote(column.name)} {kind}"
        connection.exec_driver_sql(statement)
    # The unique column again: its version tells the other workers of the overflow column, which has no key.
    register(connection, columns.table, [columns.unique, *adopted.values(), *added], version)


def _is_strict(connection: Connection, table: TableName) -> bool:
    """Whether it is one of SQLite's STRICT tables, where every column has a type, and ``ANY`` changes no value."""
    if connection.dialect.name != "sqlite" or (connection.dialect.server_version_info or ()) < (3, 37):
        return False
    found = connection.exec_driver_sql("SELECT strict FROM pragma_table_list WHERE name = ?", (table.name,)).scalar()
    return bool(found)


def _new_columns(
    columns: TargetColumns, kinds: Mapping[str, str], adopted: Mapping[str, TargetColumn]
) -> tuple[list[TargetColumn], list[TargetColumn]]:
    """The columns to add for keys, as many as there is room for; and the overflow column where one is needed."""
    taken = set(columns.taken)
    keys = [key for key in kinds if key not in adopted]
    # One place stays for the overflow column, unless it is there.
    room = max(0, columns.room - (not columns.overflows))
    added = []
    # What a person chose gets its column, and under its name, before all others.
    chosen = [key for key in keys if key in columns.wanted.names]
    others = [key for key in keys if key not in columns.wanted.names]
    for key in (*chosen, *others[: max(0, room - len(chosen))]):
        column = TargetColumn(key, columns.wanted.name(key, taken, columns.dialect), kinds[key])
        taken.add(folded(column.name, columns.dialect))
        added.append(column)
    over = len(added) < len(keys) and not columns.overflows
    text = "any" if columns.dialect == "sqlite" else "text"
    return added, [TargetColumn(OVERFLOW, OVERFLOW, text)] if over else []


def _widen(
    connection: Connection, columns: TargetColumns, kinds: Mapping[str, str], version: int, fixed: dict[str, str]
) -> None:
    """Change column types of PostgreSQL. What a view or an index forbids is noted; only its rows will fail."""
    from sqlalchemy import exc

    quote = connection.dialect.identifier_preparer.quote_identifier
    for key, kind in kinds.items():
        column = columns.by_key[key]
        name, target = quote(column.name), sql_type(kind, connection.dialect)
        try:
            with connection.begin_nested():
                connection.exec_driver_sql(
                    f"ALTER TABLE {columns.table.quoted(connection)} ALTER COLUMN {name} TYPE {target} USING {name}::{target}"
                )
        except exc.DBAPIError as error:
            fixed[key] = str(error.orig).strip().splitlines()[0]
        else:
            register(connection, columns.table, [TargetColumn(key, column.name, kind)], version)
