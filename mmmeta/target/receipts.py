"""Receipts: what makes an import into a SQL database happen exactly once, and never an older version after a newer.

Beside the imported rows the database keeps, per state db, job and file, the fencing token under which the file was
written, and its version. Rows and receipt are one transaction, so neither is there without the other. A worker whose
token is not larger than the receipt's was overtaken, and its late commit is refused. Where the receipt is of the same
version already, and nobody asked for the file anew since, a worker committed and died before it could say so: adding
the rows once more would double them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from mmmeta.chunks import PER_STATEMENT, in_chunks
from mmmeta.errors import LoadError
from mmmeta.target import mysql, postgresql
from mmmeta.target.names import NOT_SUPPORTED, SUPPORTED, TableName

if TYPE_CHECKING:
    from sqlalchemy import Connection, Dialect, Table

TABLE = "_mmmeta_receipts"
"""Renaming it makes every job import everything again."""

PLACEHOLDER = -1
"""Token of a receipt that is only a lock; smaller than any token of a ledger."""

_KEY = "state_id, job, file"
_COLUMNS = f"{_KEY}, token, version"

NO_VERSION = ""
"""Version of a file that is not in the target: nothing equals it, so that the file is written when it comes again."""


class Stamp(NamedTuple):
    """Under what a file is written.

    Attributes:
        token: the claim's fencing token; larger with every claim and reset.
        version: names the version of the file as far as the job tells versions apart; without a name it is like no
            other.
        asked: a receipt whose token is not larger is from before a person asked for the file anew.
    """

    token: int
    version: str = NO_VERSION
    asked: int = 0


class Receipt(NamedTuple):
    """What the target says of a file: the token it was last written under, and in which version."""

    token: int
    version: str


@dataclass(frozen=True)
class Verdict:
    """What may be written.

    Attributes:
        refused: files that another worker wrote under the same or a larger token, with its receipt.
        present: files that are in the target in this very version; its worker died before the ledger heard of it.
    """

    refused: Mapping[str, Receipt]
    present: frozenset[str]


class Receipts:
    """The receipts of one job in one target; every call works inside the caller's transaction.

    Args:
        dialect: SQLAlchemy's name of the database, such as ``sqlite``.
        state_id: id of the state db whose ledger gives out the tokens.
        job: name of the job.
        schema: of the table that they lie beside.
    """

    def __init__(self, dialect: str, state_id: str, job: str, schema: str | None = None) -> None:
        self.dialect = dialect
        self._table = _known_table(dialect, schema)
        self._at = TableName(schema, TABLE)
        self._owner = {"state_id": state_id, "job": job}

    def judge(self, connection: Connection, stamps: Mapping[str, Stamp]) -> Verdict:
        """What may be written of these files.

        The receipts of all files stay locked until the transaction ends. On SQLite the transaction must hold the write
        lock already (``BEGIN IMMEDIATE``).
        """
        made: set[str] = set()
        if self.dialect != "sqlite" and stamps:
            # A row that is not there cannot be locked, so it is made; always in one order, against deadlocks.
            waiting = {file: Stamp(PLACEHOLDER) for file in sorted(stamps)}
            if mysql.is_one(self.dialect):
                making = upserting(self.dialect)(self._table).on_duplicate_key_update(token=self._table.c.token)
                connection.execute(making, [self._row(*one) for one in waiting.items()])
            else:
                new = self._write_at_once(connection, waiting, "NOTHING RETURNING file")
                made = {str(file) for (file,) in new}  # this transaction has them, and nobody else knows of them
        refused: dict[str, Receipt] = {}
        present = set()
        for file, receipt in self.read(connection, stamps.keys() - made, lock=True).items():
            stamp = stamps[file]
            if stamp.token <= receipt.token:
                refused[file] = receipt
            elif stamp.version != NO_VERSION and stamp.version == receipt.version and receipt.token > stamp.asked:
                present.add(file)
        return Verdict(refused, frozenset(present))

    def record(self, connection: Connection, stamps: Mapping[str, Stamp]) -> None:
        """Write the receipts; the files were just written by the same transaction, and were not refused."""
        if not stamps:
            return
        ordered = {file: stamps[file] for file in sorted(stamps)}
        update = "UPDATE SET token = excluded.token, version = excluded.version"
        if mysql.is_one(self.dialect):
            insert = upserting(self.dialect)(self._table)
            new = insert.inserted
            rows = [self._row(*one) for one in ordered.items()]
            connection.execute(insert.on_duplicate_key_update(token=new.token, version=new.version), rows)
        elif self.dialect == postgresql.NAME:
            self._write_at_once(connection, ordered, update)
        else:
            sql = f"INSERT INTO {TABLE} ({_COLUMNS}) VALUES (?, ?, ?, ?, ?) ON CONFLICT ({_KEY}) DO {update}"
            owner = tuple(self._owner.values())
            cells = [(*owner, file, stamp.token, stamp.version) for file, stamp in ordered.items()]
            connection.exec_driver_sql(sql, cells)

    def _write_at_once(self, connection: Connection, stamps: Mapping[str, Stamp], otherwise: str) -> Any:
        """One statement of PostgreSQL for many receipts, in their order; ``otherwise`` says what is done where there is one."""
        tokens = [stamp.token for stamp in stamps.values()]
        versions = [stamp.version for stamp in stamps.values()]
        return connection.exec_driver_sql(
            f"INSERT INTO {self._at.quoted(connection)} ({_COLUMNS}) SELECT %s, %s, given.* "
            f"FROM unnest(%s::text[], %s::bigint[], %s::text[]) AS given ON CONFLICT ({_KEY}) DO {otherwise}",
            (
                *self._owner.values(),
                postgresql.array(list(stamps)),
                postgresql.array(tokens),
                postgresql.array(versions),
            ),
        )

    def take(self, connection: Connection, file: str, stamp: Stamp) -> bool:
        """``judge`` and ``record`` in one statement, for SQLite and PostgreSQL: a fence whatever the caller's
        transaction has read before. Gives whether the rows are to be written."""
        from sqlalchemy import and_, not_

        table = self._table
        insert = upserting(self.dialect)(table)
        new = insert.excluded
        # With the excluded version in it the condition holds for the receipt that is there when the lock is got.
        present = and_(table.c.version == new.version, new.version != NO_VERSION, table.c.token > stamp.asked)
        statement = insert.values(self._row(file, stamp)).on_conflict_do_update(
            index_elements=["state_id", "job", "file"],
            set_={"token": new.token, "version": new.version},
            where=and_(new.token > table.c.token, not_(present)),
        )
        # Otherwise SQLAlchemy forgets how many rows an INSERT wrote.
        if connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount == 1:
            return True
        # Of this version already: from now on under this token, so that an older claim's late commit is refused.
        mine = and_(self._mine(), table.c.file == file, table.c.token < stamp.token)
        connection.execute(table.update().where(mine).values(token=stamp.token))
        return False

    def read(self, connection: Connection, files: Iterable[str], *, lock: bool = False) -> dict[str, Receipt]:
        """File → its receipt, for those that have one."""
        from sqlalchemy import select

        table = self._table
        found: dict[str, Receipt] = {}
        for chunk in in_chunks(sorted(files), PER_STATEMENT):
            if self.dialect == "sqlite":
                marks = ", ".join("?" * len(chunk))
                sql = f"SELECT file, token, version FROM {TABLE} WHERE state_id = ? AND job = ? AND file IN ({marks})"
                rows = connection.exec_driver_sql(sql, (*self._owner.values(), *chunk))
                found.update((str(file), Receipt(int(token), str(version))) for file, token, version in rows)
                continue
            query = select(table.c.file, table.c.token, table.c.version).where(self._mine(), table.c.file.in_(chunk))
            query = query.order_by(table.c.file)
            for file, token, version in connection.execute(query.with_for_update() if lock else query):
                found[str(file)] = Receipt(int(token), str(version))
        return found

    def _row(self, file: str, stamp: Stamp) -> dict[str, Any]:
        return {**self._owner, "file": file, "token": stamp.token, "version": stamp.version}

    def _mine(self) -> Any:
        table = self._table
        return (table.c.state_id == self._owner["state_id"]) & (table.c.job == self._owner["job"])


def write_receipt(connection: Connection, *, state_id: str, job: str, file: str, stamp: Stamp) -> bool:
    """Write the receipt of one file, making the table if need be.

    Returns:
        Whether the rows are to be written; False where a later claim's receipt is there, or one of the same version
        that the ledger does not know of.

    Raises:
        LoadError: the database does not take it.
    """
    from sqlalchemy import exc

    dialect = connection.dialect.name
    if dialect not in SUPPORTED:
        raise LoadError(f"the receipt of {file!r} for job {job!r}: {NOT_SUPPORTED.format(backend=dialect)}")
    receipts = Receipts(dialect, state_id, job)
    try:
        create_receipts(connection)
        if not mysql.is_one(dialect):
            return receipts.take(connection, file, stamp)
        verdict = receipts.judge(connection, {file: stamp})
        if file not in verdict.refused:
            receipts.record(connection, {file: stamp})
        return file not in verdict.refused and file not in verdict.present
    except exc.SQLAlchemyError as error:
        raise LoadError(f"the receipt of {file!r} for job {job!r} cannot be written: {error}") from error


def refusing_receipt(connection: Connection, *, state_id: str, job: str, file: str, stamp: Stamp) -> Receipt | None:
    """The receipt for which ``write_receipt`` has just said no; None where it is this claim's own."""
    receipt = Receipts(connection.dialect.name, state_id, job).read(connection, [file]).get(file)
    own = receipt is None or receipt.token < stamp.token or receipt == Receipt(stamp.token, stamp.version)
    return None if own else receipt


def create_receipts(connection: Connection, schema: str | None = None) -> None:
    """Make the table of the receipts where it is not there."""
    from sqlalchemy import inspect
    from sqlalchemy.schema import CreateTable

    if inspect(connection).has_table(TABLE, schema):
        return
    if connection.dialect.name == "postgresql":
        # Workers make the table at the same time, and CREATE … IF NOT EXISTS does not wait there. Until the end of the
        # transaction, so never when the table is there.
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('_mmmeta_receipts'))")
    table = receipts_table(connection.dialect.name, schema, connection.dialect)
    if connection.dialect.name == "sqlite":
        # A caller's transaction may not have the write lock yet, and another worker make the table meanwhile.
        connection.execute(CreateTable(table, if_not_exists=True))
    else:
        table.create(connection, checkfirst=True)


@lru_cache(maxsize=16)
def _known_table(dialect: str, schema: str | None) -> Table:
    """The same table each time, so that SQLAlchemy knows its statements again."""
    return receipts_table(dialect, schema)


def receipts_table(dialect: str, schema: str | None = None, making: Dialect | None = None) -> Table:
    """The table as SQLAlchemy sees it; made with ``table.create(connection, checkfirst=True)``.

    Args:
        making: of a connection to the database where it is to be made; needed for MariaDB and MySQL.
    """
    from sqlalchemy import BigInteger, Column, MetaData, Table, Text

    def text(length: int) -> Any:
        return mysql.text_type(making, length) if making is not None and mysql.is_one(dialect) else Text()

    return Table(
        TABLE,
        MetaData(),
        Column("state_id", text(40), primary_key=True),
        Column("job", text(128), primary_key=True),
        Column("file", text(mysql.ID_CHARACTERS), primary_key=True),
        Column("token", BigInteger, nullable=False),
        Column("version", text(100), nullable=False),
        schema=schema,
        sqlite_with_rowid=False,  # found by its key alone, and written once instead of twice
        **mysql.OPTIONS,
    )


def upserting(dialect: str) -> Any:
    """``insert`` of a database, with its way to overwrite what is there."""
    if mysql.is_one(dialect):
        from sqlalchemy.dialects import mysql as dialects

        return dialects.insert
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert
    from sqlalchemy.dialects import sqlite

    return sqlite.insert
