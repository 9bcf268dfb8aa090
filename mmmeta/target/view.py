"""What a table that jobs load looks like, for people: its columns as the database has them, and how many rows it has."""

from __future__ import annotations

import os
from dataclasses import dataclass

from mmmeta.errors import LoadError
from mmmeta.masking import without_secrets_of
from mmmeta.target.engine import READING, open_engine


@dataclass(frozen=True)
class TableColumn:
    """One column; ``type`` is empty where the database has none, as in SQLite."""

    name: str
    type: str
    nullable: bool


@dataclass(frozen=True)
class TableView:
    """A table: its columns in order, and its rows, None where they were not counted."""

    columns: tuple[TableColumn, ...]
    rows: int | None


def view_table(url: str, table: str, *, count: bool) -> TableView | None:
    """Look at a table; None where it is not there. Reads only, and takes no lock.

    Args:
        url: a SQLAlchemy URL.
        count: whether to count the rows, which reads all of an index or of the table.

    Raises:
        LoadError: the database cannot be opened or read.
    """
    from sqlalchemy import exc, func, inspect, select
    from sqlalchemy import table as named
    from sqlalchemy.types import NullType

    if _is_missing(url):
        return None
    engine, shown = open_engine(url)
    try:
        with engine.connect() as connection:
            connection = connection.execution_options(**{READING: True})
            found = inspect(connection).get_columns(table)
            rows = connection.scalar(select(func.count()).select_from(named(table))) if count else None
    except exc.NoSuchTableError:
        return None
    except exc.SQLAlchemyError as error:
        raise LoadError(
            f"{shown}, table {table!r}: cannot be looked at: {without_secrets_of(url, str(error))}"
        ) from error
    finally:
        engine.dispose()
    columns = tuple(
        TableColumn(
            str(one["name"]), "" if isinstance(one["type"], NullType) else str(one["type"]), bool(one["nullable"])
        )
        for one in found
    )
    return TableView(columns, rows)


def _is_missing(url: str) -> bool:
    """Whether this is an SQLite database that is not there: opening it would make an empty one."""
    from sqlalchemy import exc
    from sqlalchemy.engine import make_url

    try:
        parsed = make_url(url)
    except (exc.ArgumentError, ValueError):
        return False  # opening it says what is wrong
    file = parsed.database or ""
    plain = parsed.get_backend_name() == "sqlite" and bool(file) and not file.startswith("file:")
    return plain and not os.path.exists(os.path.expanduser(file))
