"""What a table that jobs load looks like, for people: its columns as the database has them, and how many rows it has."""

from __future__ import annotations

from dataclasses import dataclass

from mmmeta.errors import LoadError
from mmmeta.masking import without_secrets_of
from mmmeta.target.engine import READING, open_engine, sqlite_file
from mmmeta.target.inspecting import describe
from mmmeta.target.names import read_table_name


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
    from sqlalchemy import exc, func, select
    from sqlalchemy import table as named
    from sqlalchemy.types import NullType

    engine, shown = open_engine(url, make_folder=False)
    try:
        file = sqlite_file(engine.url)
        if file is not None and not file.exists():
            return None  # connecting would make it
        with engine.connect() as connection:
            connection = connection.execution_options(**{READING: True})
            at = read_table_name(table)
            found = describe(connection, at)
            rows = (
                connection.scalar(select(func.count()).select_from(named(at.name, schema=at.schema))) if count else None
            )
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
