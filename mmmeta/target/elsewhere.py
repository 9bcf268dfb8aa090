"""Names of files out of somebody else's SQL database: a column, or a query of the reader's own. Nothing is changed there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mmmeta.errors import LoadError, near_misses
from mmmeta.masking import without_password, without_secrets_of
from mmmeta.target.engine import driver_hint

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine


def from_query(url: str, query: str) -> list[str]:
    """Unique values out of the first column of a query; nothing in the database is changed.

    Raises:
        LoadError: the database cannot be read, or does not understand the query.
    """
    from sqlalchemy import text

    # A colon in somebody's SQL is no parameter of ours.
    with _reading(url) as connection:
        return list(_texts(connection.execute(text(query.replace(":", r"\:")))))


def from_column(url: str, table: str, column: str) -> list[str]:
    """Unique values out of a column of a table (``schema.table`` too).

    Raises:
        LoadError: there is no such table or column (with the near misses), or the database cannot be read.
    """
    from sqlalchemy import MetaData, Table, exc, inspect, select

    with _reading(url) as connection:
        schema, _, name = table.rpartition(".")
        tables = [
            *inspect(connection).get_table_names(schema or None),
            *inspect(connection).get_view_names(schema or None),
        ]
        if name not in tables:
            raise LoadError(f"{without_password(url)} has no table {table!r}.{near_misses(name, tables)}")
        try:
            found = Table(name, MetaData(), schema=schema or None, autoload_with=connection)
        except exc.NoSuchTableError:
            raise LoadError(f"{without_password(url)} has no table {table!r}") from None
        if column not in found.c:
            raise LoadError(
                f"table {table!r} of {without_password(url)} has no column {column!r}."
                f"{near_misses(column, found.c.keys())}"
            )
        return list(_texts(connection.execute(select(found.c[column]).distinct())))


def _texts(rows: Iterable[Any]) -> Iterator[str]:
    """The first column as text; NULL names no file."""
    for row in rows:
        value = row[0]
        if value is not None:
            yield value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


@contextmanager
def _reading(url: str) -> Iterator[Connection]:
    """A connection that changes nothing; a mistyped path does not become a new SQLite file."""
    from sqlalchemy import create_engine, exc
    from sqlalchemy.engine import make_url

    shown = without_password(url)
    engine: Engine | None = None
    try:
        parsed = make_url(url)
        sqlite = parsed.get_backend_name() == "sqlite"
        if sqlite and not (parsed.database and os.path.exists(parsed.database)):
            raise LoadError(f"{shown}: there is no such file")
        engine = create_engine(parsed, hide_parameters=True)
        with engine.connect() as connection:
            if sqlite:
                connection.exec_driver_sql("PRAGMA query_only = ON")
            yield connection
            connection.rollback()
    except (exc.SQLAlchemyError, ImportError, ValueError) as error:
        reason = str(getattr(error, "orig", None) or error).strip()
        raise LoadError(f"{shown}: {without_secrets_of(url, reason)}{driver_hint(error)}") from error
    finally:
        if engine is not None:
            engine.dispose()
