"""Taking for done what somebody did before the job was there, so that a switch to mmmeta does not do everything again.

Which files these are is told by their names, by a filter over what the client set (``imported=true`` of a script that
the job replaces), by the job's own target, or by a column or query of any SQL database.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmmeta.catalog.catalog import Catalog
from mmmeta.errors import JobError, LoadError, near_misses
from mmmeta.jobs.actions.make import make_action
from mmmeta.jobs.bench import Bench
from mmmeta.masking import without_password, without_secrets_of
from mmmeta.state.ledger.sqlite import Ledger

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

NAMED = 20
"""Unknown names that an adoption keeps; all are counted."""

AT_ONCE = 500
"""Files that are looked for at once; SQLite takes 999 variables at least."""


@dataclass(frozen=True)
class Adoption:
    """What adopting did.

    Attributes:
        named: files that were named, or found; of these
        adopted: taken for done,
        already_done: which the job had done before,
        claimed: in a worker's hands, left alone,
        not_selected: the job never selected, or has set aside,
        unknown: names of no file; the first 20 in ``unknown_names``.
    """

    named: int
    adopted: int
    already_done: int
    claimed: int
    not_selected: int
    unknown: int
    unknown_names: tuple[str, ...]


def adopt(ledger: Ledger, catalog: Catalog, job: str, files: Iterable[str]) -> Adoption:
    """Take files for done, in the ledger's transaction, and say what became of each name."""
    adopted = ledger.adopt(files)  # leaves the names in the table temp.adopted
    connection = ledger.connection
    counts = _statuses(connection, job)
    known = f"EXISTS (SELECT 1 FROM files WHERE {catalog.unique_sql} = temp.adopted.file)"
    (unknown,) = connection.execute(f"SELECT count(*) FROM temp.adopted WHERE NOT {known}").fetchone()
    names = connection.execute(f"SELECT file FROM temp.adopted WHERE NOT {known} LIMIT {NAMED}").fetchall()
    named = sum(counts.values())
    done, claimed = counts.get("done", 0), counts.get("claimed", 0)
    return Adoption(
        named=named,
        adopted=adopted,
        already_done=done - adopted,
        claimed=claimed,
        not_selected=named - unknown - done - claimed,
        unknown=unknown,
        unknown_names=tuple(name for (name,) in names),
    )


def _statuses(connection: sqlite3.Connection, job: str) -> dict[str | None, int]:
    """Status → how many of the names have it; None: the ledger does not have them."""
    return dict(
        connection.execute(
            "SELECT ledger.status, count(*) FROM temp.adopted LEFT JOIN ledger ON ledger.job = ? "
            "AND ledger.file = temp.adopted.file GROUP BY 1",
            (job,),
        ).fetchall()
    )


def present(bench: Bench, names: Iterable[str]) -> Iterator[str]:
    """Those of these files that are where the job puts them, in their present version.

    Raises:
        JobError: the job calls a function or a command; nobody knows where to look.
    """
    backend = bench.backend
    action = make_action(bench.config, backend.config, backend.layout, bench.state_id)
    catalog = backend.catalog()
    try:
        for chunk in _chunks(names):
            rows = catalog.by_unique(chunk)
            files = [bench.file(row, catalog) for row in rows.values()]
            missing = action.missing(files)
            if missing is None:
                raise JobError(
                    f"job {bench.config.name!r}: nobody knows where its results are; name files, a filter or a query"
                )
            yield from (file.unique_value for file in files if file.unique_value not in missing)
    finally:
        action.close()


def unsettled(ledger: Ledger, job: str) -> list[str]:
    """The files that could be adopted: selected, and neither done nor in a worker's hands."""
    return [
        file
        for status in ("pending", "failed", "dead")
        for (file,) in ledger.connection.execute(
            f"SELECT file FROM ledger WHERE job = ? AND status = '{status}' AND NOT retract", (job,)
        )
    ]


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
        raise LoadError(f"{shown}: {without_secrets_of(url, reason)}") from error
    finally:
        if engine is not None:
            engine.dispose()


def _chunks(names: Iterable[str]) -> Iterator[list[str]]:
    chunk: list[str] = []
    for name in names:
        chunk.append(name)
        if len(chunk) == AT_ONCE:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
