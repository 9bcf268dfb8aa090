"""Receipts: what makes an import into a SQL database happen exactly once, and never an older version after a newer.

Beside the imported rows the database keeps, per state db, job and file, the fencing token under which the file was
written. Rows and receipt are one transaction, so neither is there without the other; and a worker whose token is not
larger than the receipt's was overtaken, so that its late commit is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from mmmeta.errors import LoadError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table

TABLE = "_mmmeta_receipts"
"""Renaming it makes every job import everything again."""

PLACEHOLDER = -1
"""Token of a receipt that is only a lock; smaller than any token of a ledger."""

CHUNK = 500
"""Files a statement: SQLite before 3.32 takes 999 variables."""


class Receipts:
    """The receipts of one job in one target; every call works inside the caller's transaction.

    Args:
        dialect: SQLAlchemy's name of the database, such as ``sqlite``.
        state_id: id of the state db whose ledger gives out the tokens.
        job: name of the job.
    """

    def __init__(self, dialect: str, state_id: str, job: str) -> None:
        self.dialect = dialect
        self._table = receipts_table(dialect)
        self._owner = {"state_id": state_id, "job": job}

    def refused(self, connection: Connection, tokens: Mapping[str, int]) -> set[str]:
        """The files whose token is not larger than their receipt's.

        The receipts of all files stay locked until the transaction ends. On SQLite the transaction must hold the write
        lock already (``BEGIN IMMEDIATE``).
        """
        if self.dialect == "postgresql" and tokens:
            # A row that is not there cannot be locked, so it is made; always in one order, against deadlocks.
            waiting = [{**self._owner, "file": file, "token": PLACEHOLDER} for file in sorted(tokens)]
            connection.execute(upserting(self.dialect)(self._table).on_conflict_do_nothing(), waiting)
        found = self.read(connection, tokens, lock=True)
        return {file for file, token in found.items() if tokens[file] <= token}

    def record(self, connection: Connection, tokens: Mapping[str, int]) -> None:
        """Write the receipts; the files were just written by the same transaction, and were not refused."""
        if not tokens:
            return
        rows = [{**self._owner, "file": file, "token": token} for file, token in sorted(tokens.items())]
        table = self._table
        if self.dialect in ("sqlite", "postgresql"):
            insert = upserting(self.dialect)(table)
            update = insert.on_conflict_do_update(
                index_elements=["state_id", "job", "file"], set_={"token": insert.excluded.token}
            )
            connection.execute(update, rows)
            return
        for chunk in _chunks(tokens):
            connection.execute(table.delete().where(self._mine(), table.c.file.in_(chunk)))
        connection.execute(table.insert(), rows)

    def forget_locks(self, connection: Connection, files: Iterable[str]) -> None:
        """Remove what ``refused`` made only to lock, for files that were not written after all."""
        table = self._table
        for chunk in _chunks(files):
            connection.execute(
                table.delete().where(self._mine(), table.c.token == PLACEHOLDER, table.c.file.in_(chunk))
            )

    def read(self, connection: Connection, files: Iterable[str], *, lock: bool = False) -> dict[str, int]:
        """File → token of the last committed import, for those that have one."""
        from sqlalchemy import select

        table, found = self._table, {}
        for chunk in _chunks(sorted(files)):
            query = select(table.c.file, table.c.token).where(self._mine(), table.c.file.in_(chunk))
            query = query.order_by(table.c.file)
            for file, token in connection.execute(query.with_for_update() if lock else query):
                found[str(file)] = int(token)
        return found

    def _mine(self) -> Any:
        table = self._table
        return (table.c.state_id == self._owner["state_id"]) & (table.c.job == self._owner["job"])


def write_receipt(connection: Connection, *, state_id: str, job: str, file: str, token: int) -> bool:
    """Write the receipt of one file, making the table if need be; False if a later claim's is there already.

    Raises:
        LoadError: the database does not take it.
    """
    from sqlalchemy import exc

    dialect = connection.dialect.name
    try:
        create_receipts(connection)
        if dialect in ("sqlite", "postgresql"):
            # One statement, so that it is a fence whatever the caller's transaction has read before.
            insert = upserting(dialect)(receipts_table(dialect))
            newer = insert.excluded.token > insert.table.c.token
            written = connection.execute(
                insert.values(state_id=state_id, job=job, file=file, token=token).on_conflict_do_update(
                    index_elements=["state_id", "job", "file"], set_={"token": insert.excluded.token}, where=newer
                )
            )
            return bool(written.rowcount == 1)
        receipts = Receipts(dialect, state_id, job)
        if receipts.refused(connection, {file: token}):
            return False
        receipts.record(connection, {file: token})
        return True
    except exc.SQLAlchemyError as error:
        raise LoadError(f"the receipt of {file!r} for job {job!r} cannot be written: {error}") from error


def create_receipts(connection: Connection) -> None:
    """Make the table of the receipts where it is not there."""
    from sqlalchemy import inspect

    if inspect(connection).has_table(TABLE):
        return
    if connection.dialect.name == "postgresql":
        # Workers make the table at the same time, and CREATE … IF NOT EXISTS does not wait there. Until the end of the
        # transaction, so never when the table is there.
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('_mmmeta_receipts'))")
    receipts_table(connection.dialect.name).create(connection, checkfirst=True)


def receipts_table(dialect: str) -> Table:
    """The table as SQLAlchemy sees it; made with ``table.create(connection, checkfirst=True)``."""
    from sqlalchemy import BigInteger, Column, MetaData, String, Table, Text

    text = Text() if dialect in ("sqlite", "postgresql") else String(255)
    return Table(
        TABLE,
        MetaData(),
        Column("state_id", text, primary_key=True),
        Column("job", text, primary_key=True),
        Column("file", text, primary_key=True),
        Column("token", BigInteger, nullable=False),
    )


def upserting(dialect: str) -> Any:
    """``insert`` of SQLite or PostgreSQL, the two that know ``ON CONFLICT``."""
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert
    from sqlalchemy.dialects import sqlite

    return sqlite.insert


def _chunks(files: Iterable[str]) -> Iterator[Sequence[str]]:
    rest = iter(files)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk
