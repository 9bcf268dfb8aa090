"""What MariaDB and MySQL do otherwise than SQLite and PostgreSQL: collations, lengths of what is indexed, names, error numbers."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import Connection, Dialect, Engine

DIALECTS = frozenset({"mysql", "mariadb"})
"""SQLAlchemy's names of them."""

ID_CHARACTERS = 500
"""Of a file's unique value, which is part of the key of the receipts: InnoDB indexes 3,072 bytes, four a character."""

CHARSET = "utf8mb4"

ENGINE = "InnoDB"
"""Of the tables that are made here, whatever the server's default is: rows and receipts have to be one transaction."""

OPTIONS: dict[str, Any] = {f"{dialect}_engine": ENGINE for dialect in sorted(DIALECTS)}
"""The same for SQLAlchemy's tables."""

LOCK_SECONDS = 60
"""How long workers wait for each other before they make the same table."""

LONGEST_IDLE = 600
"""Seconds without a word after which the server ends a session, and its transaction: a worker may be gone without one. Longer:
its files are held for longer. Shorter than changing a large table takes: others may begin to do so, and wait."""

DEADLOCK = 1213

MISSING = frozenset({1146, 1054})
"""There is no such table, no such column."""

OUT_OF_ORDER = frozenset(
    {1021, 1030, 1036, 1040, 1044, 1045, 1049, 1053, 1114, 1142, 1143, 1146, 1203, 1205, 1226, 1227, 1288, 1290, 1347}
    | {1370, 1471, 1698, 1792, 1836, 1927, 2002, 2003, 2005, 2006, 2013, 2055}
)
"""Nobody's rows would be taken now: it is not reached, forbids it, is full, read-only or locked, or what is there is no table."""

NO_INDEX = frozenset({1071, 1170})
"""The column is of a type that has no length, or too long for an index."""


def is_one(dialect: str) -> bool:
    """Whether a dialect of SQLAlchemy is MariaDB's or MySQL's."""
    return dialect in DIALECTS


def collation(dialect: Dialect) -> str:
    """The collation that tells all texts apart: by case, accent, and spaces at the end."""
    return f"{CHARSET}_nopad_bin" if getattr(dialect, "is_mariadb", False) else f"{CHARSET}_0900_bin"


def text_in_sql(dialect: Dialect, length: int | None = None) -> str:
    """The type of a column that keeps every text as it is; one that is indexed has a length."""
    name = "LONGTEXT" if length is None else f"VARCHAR({length})"
    return f"{name} CHARACTER SET {CHARSET} COLLATE {collation(dialect)}"


def text_type(dialect: Dialect, length: int | None = None) -> Any:
    """The same for SQLAlchemy."""
    from sqlalchemy.dialects import mysql

    if length is None:
        return mysql.LONGTEXT(charset=CHARSET, collation=collation(dialect))
    return mysql.VARCHAR(length, charset=CHARSET, collation=collation(dialect))


def type_of(name: str, length: int | None) -> Any:
    """SQLAlchemy's type for a server's name of one, as far as it matters what values it takes."""
    from sqlalchemy import types

    if name in ("tinyint", "smallint", "mediumint", "int", "bigint", "year"):
        return types.Integer()
    if name in ("decimal", "float", "double"):
        return types.Float() if name == "double" else types.Numeric()
    if name in ("char", "varchar"):
        return types.String(length)
    return types.Text() if name.endswith("text") else types.NullType()


def exactly(dialect: Dialect, column: Any, value: Any) -> Any:
    """``column = value`` whatever collation somebody gave the column; its index serves all the same."""
    from sqlalchemy import and_, cast
    from sqlalchemy.dialects import mysql

    return and_(column == value, cast(column, mysql.CHAR(charset=CHARSET)).collate(collation(dialect)) == value)


def folded(name: str) -> str:
    """The name of a column as the server tells such names apart: neither case nor accents count."""
    plain = "".join(part for part in unicodedata.normalize("NFKD", name) if not unicodedata.combining(part))
    return plain.lower().replace("ß", "s")


def refuses_name(name: str) -> bool:
    """Whether no column can be called so, though the other databases take it."""
    return name.endswith(" ") or any(ord(character) > 0xFFFF for character in name)


def engine_without_transactions(connection: Connection, schema: str | None, table: str) -> str | None:
    """The engine of a table, where it knows no transactions, as MyISAM and Aria do; None of others."""
    found = connection.exec_driver_sql(
        "SELECT engine FROM information_schema.tables JOIN information_schema.engines USING (engine) "
        "WHERE table_schema = coalesce(%s, database()) AND table_name = %s AND coalesce(transactions, 'NO') <> 'YES'",
        (schema, table),
    ).scalar()
    return None if found is None else str(found)


def number_of(error: Any) -> int:
    """The number of an error, 0 where it has none; as all drivers give it."""
    number = getattr(error.orig, "errno", None) or next(iter(getattr(error.orig, "args", ())), 0)
    return number if isinstance(number, int) else 0


@contextmanager
def alone(engine: Engine, table: str) -> Iterator[None]:
    """No other worker makes the same table meanwhile, where the database is one of these. A transaction does not do that:
    every change of a table ends it."""
    if not is_one(engine.dialect.name):
        yield
        return
    from sqlalchemy.exc import DBAPIError

    name = f"mmmeta {hashlib.blake2b(table.encode(), digest_size=16).hexdigest()}"
    with engine.connect() as connection:
        connection.exec_driver_sql(f"SELECT GET_LOCK('{name}', {LOCK_SECONDS})").scalar()
        try:
            yield
        finally:
            with suppress(DBAPIError):  # the server lets go of it with the session
                connection.exec_driver_sql(f"SELECT RELEASE_LOCK('{name}')").scalar()
