"""The tables of a SQL target: which SQL types columns have; makes the table, adds and widens columns, reads which there are.

What was decided stays in the table ``_mmmeta_columns``, so that a key has the same column in every run.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mmmeta.errors import TargetError
from mmmeta.target.columns import ROWS, TargetColumn, TargetColumns, WantedColumns
from mmmeta.target.names import OVERFLOW
from mmmeta.target.receipts import create_receipts

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table

REGISTRY = "_mmmeta_columns"
"""Renaming it gives keys with mangled names new columns."""

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

BYTES = {"postgresql": "BYTEA", "mysql": "LONGBLOB", "mariadb": "LONGBLOB"}
"""Where bytes are called otherwise."""


class TargetTable(NamedTuple):
    """A target at one moment: what its columns hold, and the table that statements are made of."""

    columns: TargetColumns
    table: Table


def sqlalchemy_table(columns: TargetColumns) -> Table:
    """The target for statements. Its columns have the keys that ``parameters`` binds, so no name can disturb."""
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
    return Table(
        quoted_name(columns.table, True),
        MetaData(),
        *(Column(quoted_name(own.name, True), types.get(own.kind, NullType()), key=own.key) for own in bound),
    )


def read_version(connection: Connection, table: str) -> int:
    """The version of a target's columns; 0 where nothing was made yet."""
    from sqlalchemy import func, select

    registry = registry_table(connection.dialect.name)
    mine = registry.c.table_name == _registered(connection, table)
    return int(connection.execute(select(func.max(registry.c.version)).where(mine)).scalar() or 0)


def read_columns(
    connection: Connection, table: str, wanted: WantedColumns, fixed: Mapping[str, str]
) -> TargetColumns | None:
    """The columns as they are; None where the table or the column of the unique key has to be made first."""
    from sqlalchemy import inspect

    inspector = inspect(connection)
    if not inspector.has_table(table) or not inspector.has_table(REGISTRY):
        return None
    actual = {str(column["name"]) for column in inspector.get_columns(table)}
    # A column that somebody dropped is made again when its key comes.
    known = {key: column for key, column in read_registry(connection, table).items() if column.name in actual}
    unique = known.pop(wanted.unique, None)
    if unique is None or unique.kind != wanted.unique_kind:
        return None
    return TargetColumns(
        dialect=connection.dialect.name,
        table=table,
        unique=unique,
        by_key={key: column for key, column in known.items() if wanted.writes(key)},
        taken=frozenset(name.lower() for name in actual),
        version=read_version(connection, table),
        wanted=wanted,
        registered=frozenset(column.name for column in (unique, *known.values())),
        fixed=fixed,
    )


def read_registry(connection: Connection, table: str) -> dict[str, TargetColumn]:
    """Key → column, as it was decided, for all jobs that write into a table; its registry is there."""
    from sqlalchemy import select

    registry = registry_table(connection.dialect.name)
    query = select(registry.c.metadata_key, registry.c.column_name, registry.c.kind)
    query = query.where(registry.c.table_name == _registered(connection, table))
    return {
        _unescape(key): TargetColumn(_unescape(key), name, kind)
        for key, name, kind in connection.execute(query.order_by(registry.c.version, registry.c.metadata_key))
    }


def prepare(
    connection: Connection, table: str, wanted: WantedColumns, rows: Sequence[Mapping[str, Any]], fixed: dict[str, str]
) -> None:
    """Make what is missing for these rows: the tables, the index, columns. One transaction, the caller's.

    A table that is there already is used as it is: its columns keep their types, and it gets an index where the unique
    key has none. A column that cannot be widened is named in ``fixed`` with the reason.

    Raises:
        TargetError: the table does not fit the job: an upsert needs the unique key to be unique, ``append`` needs it not to
            be, or the name of a chosen column is not free.
    """
    from sqlalchemy import inspect

    dialect = connection.dialect.name
    if dialect == "postgresql":
        # Workers of one job make the same table at the same time; IF NOT EXISTS does not wait there.
        lock = int.from_bytes(hashlib.blake2b(table.encode(), digest_size=8).digest(), "big", signed=True)
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({lock})")
    registry = registry_table(dialect)
    registry.create(connection, checkfirst=True)
    create_receipts(connection)
    version = read_version(connection, table) + 1
    if not inspect(connection).has_table(table):
        _create(connection, table, wanted, rows, version)
        return
    columns = read_columns(connection, table, wanted, fixed)
    if columns is None:
        _adopt_unique(connection, table, wanted, version)
        columns = read_columns(connection, table, wanted, fixed)
        assert columns is not None
    needs = columns.needs(rows)
    _widen(connection, columns, {key: kind for key, kind in needs.items() if key in columns.by_key}, version, fixed)
    _add(connection, columns, {key: kind for key, kind in needs.items() if key not in columns.by_key}, version)


def registry_table(dialect: str) -> Table:
    """The table that remembers which key has which column."""
    from sqlalchemy import BigInteger, Column, MetaData, String, Table, Text

    text = Text() if dialect in ("sqlite", "postgresql") else String(255)
    return Table(
        REGISTRY,
        MetaData(),
        Column("table_name", text, primary_key=True),
        Column("metadata_key", text, primary_key=True),
        Column("column_name", text, nullable=False),
        Column("kind", text, nullable=False),
        Column("version", BigInteger, nullable=False),
    )


def _create(
    connection: Connection, table: str, wanted: WantedColumns, rows: Sequence[Mapping[str, Any]], version: int
) -> None:
    """A new table with all columns of the first batch at once: one statement instead of one a column."""
    dialect = connection.dialect.name
    own = TargetColumn(wanted.unique, wanted.name(wanted.unique, ()), wanted.unique_kind)
    empty = TargetColumns(dialect, table, own, {}, frozenset({own.name.lower()}), version, wanted)
    added, overflow = _new_columns(empty, empty.needs(rows), {})
    quote = connection.dialect.identifier_preparer.quote_identifier
    text = "TEXT" if dialect in ("sqlite", "postgresql") else "VARCHAR(255)"
    parts = [f"{quote(own.name)} {text} NOT NULL{'' if wanted.append else ' PRIMARY KEY'}"]
    parts += [f"{quote(column.name)} {sql_type(column.kind, dialect)}" for column in (*added, *overflow)]
    connection.exec_driver_sql(f"CREATE TABLE {quote(table)} ({', '.join(parts)})")
    if wanted.append:
        _index(connection, table, own.name, unique=False)
    # A table of this name may have been dropped, with other columns.
    registry = registry_table(dialect)
    connection.execute(registry.delete().where(registry.c.table_name == _registered(connection, table)))
    _register(connection, table, [own, *added], version)


def sql_type(kind: str, dialect: str) -> str:
    """The type of a column of this kind."""
    return BYTES.get(dialect, SQL_TYPES[kind]) if kind == "bytes" else SQL_TYPES[kind]


def _adopt_unique(connection: Connection, table: str, wanted: WantedColumns, version: int) -> None:
    """Use, or add, the unique key's column of a table that somebody else made, and give it the index it needs."""
    from sqlalchemy import exc, inspect

    inspector = inspect(connection)
    actual = {str(column["name"]) for column in inspector.get_columns(table)}
    quote = connection.dialect.identifier_preparer.quote_identifier
    own = TargetColumn(wanted.unique, wanted.names.get(wanted.unique, wanted.unique), wanted.unique_kind)
    known = read_registry(connection, table)
    if not wanted.append and wanted.unique in known and known[wanted.unique].kind == ROWS:
        # The index that an upsert needs would refuse the next version of a file.
        raise TargetError(
            f"table {table!r} has a row for each version, from a job with `mode: append`. Give the job another table, or "
            "drop this one"
        )
    others = {column.name for key, column in known.items() if key != own.key}
    if own.name not in actual or own.name in others:
        name = wanted.name(wanted.unique, {name.lower() for name in actual})
        own = TargetColumn(wanted.unique, name, wanted.unique_kind)
        connection.exec_driver_sql(f"ALTER TABLE {quote(table)} ADD COLUMN {quote(own.name)} {SQL_TYPES['text']}")
    keys: list[Sequence[str | None]] = [inspector.get_pk_constraint(table)["constrained_columns"]]
    keys += [constraint["column_names"] for constraint in inspector.get_unique_constraints(table)]
    # A partial index does not make a column unique.
    keys += [
        index["column_names"]
        for index in inspector.get_indexes(table)
        if index["unique"] and not any(option.endswith("_where") for option in index.get("dialect_options", {}))
    ]
    if wanted.append and [own.name] in keys:
        raise TargetError(
            f"table {table!r} takes one row for each {own.name!r} only, and `mode: append` adds one for each version. "
            "Give the job another table, or `mode: upsert`"
        )
    if not wanted.append and [own.name] not in keys:
        try:
            _index(connection, table, own.name, unique=True)
        except exc.IntegrityError as error:
            raise TargetError(
                f"table {table!r} has several rows with the same {own.name!r}; an upsert needs it to be unique"
            ) from error
    if wanted.append and not any(index["column_names"][:1] == [own.name] for index in inspector.get_indexes(table)):
        _index(connection, table, own.name, unique=False)
    _register(connection, table, [own], version)


def _index(connection: Connection, table: str, column: str, *, unique: bool) -> None:
    quote = connection.dialect.identifier_preparer.quote_identifier
    word = "unique" if unique else "rows"
    mark = hashlib.blake2b(f"{table}\0{column}".encode(), digest_size=6).hexdigest()
    connection.exec_driver_sql(
        f"CREATE {'UNIQUE ' if unique else ''}INDEX {quote(f'_mmmeta_{word}_{mark}')} ON {quote(table)} ({quote(column)})"
    )


def _add(connection: Connection, columns: TargetColumns, kinds: Mapping[str, str], version: int) -> None:
    from sqlalchemy import inspect

    if not kinds:
        return
    actual = {str(column["name"]) for column in inspect(connection).get_columns(columns.table)}
    free = actual - columns.registered
    named = {key: columns.wanted.names.get(key, key) for key in kinds}
    adopted = {key: TargetColumn(key, name, "own") for key, name in named.items() if name in free}
    added, overflow = _new_columns(columns, kinds, adopted)
    quote = connection.dialect.identifier_preparer.quote_identifier
    strict = _is_strict(connection, columns.table)
    for column in (*added, *overflow):
        kind = "ANY" if strict else sql_type(column.kind, connection.dialect.name)
        statement = f"ALTER TABLE {quote(columns.table)} ADD COLUMN {quote(column.name)} {kind}"
        connection.exec_driver_sql(statement)
    # The unique column again: its version tells the other workers of the overflow column, which has no key.
    _register(connection, columns.table, [columns.unique, *adopted.values(), *added], version)


def _is_strict(connection: Connection, table: str) -> bool:
    """Whether it is one of SQLite's STRICT tables, where every column has a type, and ``ANY`` changes no value."""
    if connection.dialect.name != "sqlite" or (connection.dialect.server_version_info or ()) < (3, 37):
        return False
    found = connection.exec_driver_sql("SELECT strict FROM pragma_table_list WHERE name = ?", (table,)).scalar()
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
        column = TargetColumn(key, columns.wanted.name(key, taken), kinds[key])
        taken.add(column.name.lower())
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
        name, target = quote(column.name), sql_type(kind, "postgresql")
        try:
            with connection.begin_nested():
                connection.exec_driver_sql(
                    f"ALTER TABLE {quote(columns.table)} ALTER COLUMN {name} TYPE {target} USING {name}::{target}"
                )
        except exc.DBAPIError as error:
            fixed[key] = str(error.orig).strip().splitlines()[0]
        else:
            _register(connection, columns.table, [TargetColumn(key, column.name, kind)], version)


def _register(connection: Connection, table: str, columns: Sequence[TargetColumn], version: int) -> None:
    if not columns:
        return
    registry = registry_table(connection.dialect.name)
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


def _registered(connection: Connection, table: str) -> str:
    """The table's name in the registry: SQLite does not tell upper from lower case."""
    return table.lower() if connection.dialect.name == "sqlite" else table


def _escape(key: str) -> str:
    """A key as PostgreSQL can keep it, which has no NUL."""
    return key.replace("\\", "\\\\").replace("\0", "\\0")


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: "\0" if match[1] == "0" else match[1], text, flags=re.DOTALL)
