"""A job gets another name: its receipts in a target follow.

First they are copied to the new name, then the ledger changes, then the old ones go. So whenever it is broken off, whichever
name the ledger has then finds its receipts, and doing it once more ends it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mmmeta.errors import LoadError
from mmmeta.target.engine import open_engine, sqlite_file
from mmmeta.target.names import read_table_name
from mmmeta.target.receipts import TABLE, receipts_table

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table

AT_ONCE = 500
"""Receipts that are copied with one statement."""


def copy_receipts(url: str, table: str, *, state_id: str, old: str, new: str, dry_run: bool = False) -> int:
    """Give the new name all receipts that the old one has, in one transaction; where it has one of a later token, that stays.

    Args:
        table: that rows are loaded into; the receipts lie beside it.

    Returns:
        How many receipts the old name has.

    Raises:
        LoadError: the database cannot be read or written.
    """
    with _receipts(url, table) as found:
        if found is None:
            return 0
        connection, receipts = found
        count = 0
        for job in _jobs(connection, receipts, state_id, old):
            count += _copy(connection, receipts, state_id, job, new + job[len(old) :], dry_run=dry_run)
        return count


def drop_receipts(url: str, table: str, *, state_id: str, job: str) -> int:
    """Remove the receipts of a job that is called otherwise by now; gives how many.

    Raises:
        LoadError: the database cannot be read or written.
    """
    with _receipts(url, table) as found:
        if found is None:
            return 0
        connection, receipts = found
        return sum(
            connection.execute(
                receipts.delete().where(receipts.c.state_id == state_id, receipts.c.job == name)
            ).rowcount
            for name in _jobs(connection, receipts, state_id, job)
        )


@contextmanager
def _receipts(url: str, table: str) -> Iterator[tuple[Connection, Table] | None]:
    """A transaction of the target and its table of receipts; None where there is none."""
    from sqlalchemy import exc, inspect

    try:
        schema = read_table_name(table).schema
    except ValueError as error:
        raise LoadError(str(error)) from None
    engine, shown = open_engine(url, make_folder=False)
    try:
        file = sqlite_file(engine.url)
        if file is not None and not file.exists():
            yield None
            return
        with engine.begin() as connection:
            if not inspect(connection).has_table(TABLE, schema):
                yield None
                return
            yield connection, receipts_table(connection.dialect.name, schema)
    except exc.SQLAlchemyError as error:
        raise LoadError(f"{shown}: the receipts cannot be renamed: {getattr(error, 'orig', None) or error}") from error
    finally:
        engine.dispose()


def _jobs(connection: Connection, receipts: Table, state_id: str, job: str) -> list[str]:
    """The names under which a job has receipts: its own, and those of further tables in the same database."""
    from sqlalchemy import select

    names = connection.execute(select(receipts.c.job).where(receipts.c.state_id == state_id).distinct())
    return [str(name) for (name,) in names if name == job or str(name).startswith(f"{job}:")]


def _copy(connection: Connection, receipts: Table, state_id: str, old: str, new: str, *, dry_run: bool) -> int:
    from sqlalchemy import select

    count, last = 0, ""
    columns = receipts.c
    while True:
        page = connection.execute(
            select(columns.file, columns.token, columns.version)
            .where(columns.state_id == state_id, columns.job == old, columns.file > last)
            .order_by(columns.file)
            .limit(AT_ONCE)
        ).fetchall()
        if not page:
            return count
        count, last = count + len(page), page[-1][0]
        if not dry_run:
            _put(connection, receipts, state_id, new, page)


def _put(connection: Connection, receipts: Table, state_id: str, job: str, page: Sequence[Any]) -> None:
    from sqlalchemy import select

    columns = receipts.c
    rows = {file: (token, version) for file, token, version in page}
    of_job = (columns.state_id == state_id) & (columns.job == job) & columns.file.in_(list(rows))
    for file, token in connection.execute(select(columns.file, columns.token).where(of_job)).fetchall():
        if token >= rows[file][0]:
            del rows[file]
    if rows:
        connection.execute(receipts.delete().where(of_job & columns.file.in_(list(rows))))
        values = [
            {"state_id": state_id, "job": job, "file": file, "token": token, "version": version}
            for file, (token, version) in rows.items()
        ]
        connection.execute(receipts.insert(), values)
