"""Writes metadata rows into any SQL database, exactly once, in one transaction a batch; and takes them out again.

SQLAlchemy is only imported when a target is opened.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from mmmeta.errors import LoadError, TargetError
from mmmeta.masking import without_secrets_of
from mmmeta.target import mysql
from mmmeta.target.cells import Row, bind
from mmmeta.target.columns import WantedColumns
from mmmeta.target.engine import (
    READING,
    concerns_all,
    is_missing,
    is_too_much,
    lost,
    may_go_another_time,
    open_engine,
    sqlite_file,
    takes_nothing,
)
from mmmeta.target.fitness import Unfit, refuse_shared_identity, refuse_unfilled
from mmmeta.target.names import NO_SCHEMAS, TableName, read_table_name
from mmmeta.target.receipts import Receipt, Receipts, Stamp, create_receipts
from mmmeta.target.registry import read_version
from mmmeta.target.statements import Statement, append, delete, upsert
from mmmeta.target.tables import TargetTable, prepare, read_columns, target_table

if TYPE_CHECKING:
    from sqlalchemy import Connection, exc

T = TypeVar("T")

ROUNDS = 20
"""How often a batch is tried again because other workers change the table's columns meanwhile."""


DEADLOCKS = 5
"""How often a batch is tried again because the database broke it off for another worker's."""


class TargetRow(NamedTuple):
    """One file to write, or to take out.

    Attributes:
        unique: the file's unique value.
        values: key → value, flattened.
        stamp: the token under which the ledger gave the file out, and its version, so that ``append`` adds it once.
    """

    unique: str
    values: Mapping[str, Any]
    stamp: Stamp


@dataclass(frozen=True)
class Written:
    """What a batch did.

    Attributes:
        written: files that are in the target now (or out of it), with their receipts.
        refused: files that another worker wrote under the same or a larger token; nothing was changed.
        failed: file → why the target did not take it; the others of the batch are in.
        receipts: of the refused files.
    """

    written: int
    refused: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    receipts: Mapping[str, Receipt] = field(default_factory=dict, compare=False)


class SqlTarget:
    """A table that metadata rows are written into. Made where it is missing; its schema grows with the keys.

    The unique key's column holds text. Lists and objects are JSON text, integers over 64 bits text, absent keys NULL.
    Columns that somebody else added to the table are never written. Several threads and processes may write at once.

    Args:
        url: a SQLAlchemy URL.
        table: the table's name, taken literally, but for a dot: ``schema.table``.
        wanted: which columns are written, and whether a file has one row or one a version; the name of the unique key
            alone stands for one row a file with all keys.

    Raises:
        LoadError: the URL cannot be read, or its driver is not installed.
    """

    url: str

    def __init__(self, url: str, table: str, wanted: str | WantedColumns) -> None:
        try:
            self.at: TableName = read_table_name(table)
        except ValueError as error:
            raise LoadError(str(error)) from None
        self.table = table
        self.wanted: WantedColumns = WantedColumns(wanted) if isinstance(wanted, str) else wanted
        self._given = url
        self._engine, self.url = open_engine(url)
        if self.at.schema is not None and self._engine.dialect.name == "sqlite":
            self._engine.dispose()
            raise LoadError(f"{self.url}: {NO_SCHEMAS.format(table=table)}")
        self._there: TargetTable | None = None
        self._fixed: dict[str, str] = {}

    @property
    def name(self) -> str:
        """Database and table, without a password: ``sqlite:////data/docs.db, table 'documents'``."""
        return f"{self.url}, table {self.table!r}"

    def write(self, rows: Sequence[TargetRow], *, state_id: str, job: str) -> Written:
        """Write a batch and its receipts, in one transaction: an upsert, or with ``append`` a new row for each file.

        A row whose token is not larger than its receipt's is refused. With ``append``, a version that is there already
        counts as written, unless a person asked for it anew. If the database does not take the batch, its rows are
        written one by one, so that a bad one loses nobody but itself.

        Args:
            rows: files, each at most once.
            state_id: id of the state db that the tokens come from.
            job: name of the job.

        Raises:
            TargetError: nothing was written: the database cannot be reached, is locked, full or read-only, or the table
                is none. The message names URL (without password), table and reason.
            LoadError: nothing was written for another reason, which these rows may be.
        """
        return self._carry_out(append if self.wanted.append else upsert, rows, state_id, job)

    def remove(self, rows: Sequence[TargetRow], *, state_id: str, job: str) -> Written:
        """Remove all rows of files, in one transaction with their receipts; a file that has none counts as removed.

        Args, refusals and errors as ``write``; what the rows' values are does not matter.
        """
        return self._carry_out(delete, rows, state_id, job)

    def _carry_out(self, statement: Statement, rows: Sequence[TargetRow], state_id: str, job: str) -> Written:
        from sqlalchemy import exc

        if len({row.unique for row in rows}) != len(rows):
            raise ValueError("a file comes twice in one batch")
        receipts = Receipts(self._engine.dialect.name, state_id, job, self.at.schema)
        deadlocks = 0
        for _ in range(ROUNDS):
            with self._errors():
                try:
                    written = self._attempt(statement, rows, receipts)
                    if written is not None:
                        return written
                    with mysql.alone(self._engine, self.table), self._engine.begin() as connection:
                        values = [] if statement is delete else [row.values for row in rows]
                        prepare(connection, self.at, self.wanted, values, self._fixed)
                except exc.DBAPIError as error:
                    # The columns that one row asks for, a row that costs the connection, or too many rows at once.
                    if may_go_another_time(error) and deadlocks < DEADLOCKS:
                        deadlocks += 1
                        continue
                    if len(rows) == 1 or self._fails_whole(error):
                        raise
                    return self._apart(statement, rows, state_id, job)
                self._there = None
        raise LoadError(f"{self.name}: its columns were changed by others {ROUNDS} times; try again")

    def _apart(self, statement: Statement, rows: Sequence[TargetRow], state_id: str, job: str) -> Written:
        """Each half in a transaction of its own, with the columns that it asks for."""
        written = 0
        refused: dict[str, Receipt] = {}
        failed: dict[str, str] = {}
        for part in reversed(_halves(rows)):
            try:
                one = self._carry_out(statement, part, state_id, job)
            except TargetError:
                raise
            except LoadError as error:
                failed |= dict.fromkeys((row.unique for row in part), str(error).removeprefix(f"{self.name}: "))
            else:
                written += one.written
                refused |= one.receipts
                failed |= one.failed
        return Written(written, tuple(sorted(refused)), failed, refused)

    @property
    def is_missing(self) -> bool:
        """Whether it is a SQLite file that is not there; connecting would make it."""
        file = sqlite_file(self._engine.url)
        return file is not None and not file.exists()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that only reads.

        Raises:
            LoadError: the target cannot be read.
        """
        with self._errors(), self._engine.connect() as connection:
            yield connection.execution_options(**{READING: True})

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def __enter__(self) -> SqlTarget:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _attempt(self, statement: Statement, rows: Sequence[TargetRow], receipts: Receipts) -> Written | None:
        """Do the batch; None where columns have to be made first."""
        from sqlalchemy import exc

        before = self._there
        try:
            return self._do(statement, rows, receipts, together=True)
        except exc.DBAPIError as error:
            if is_missing(error) and before is not None and self._there is before:
                # Somebody dropped the table or a column since an earlier batch.
                self._there = None
                return None
            if concerns_all(error):
                raise
            return self._do(statement, rows, receipts, together=False)

    def _do(
        self, statement: Statement, rows: Sequence[TargetRow], receipts: Receipts, *, together: bool
    ) -> Written | None:
        removing = statement is delete
        with self._engine.begin() as connection:
            there = self._current(connection)
            columns = None if there is None else there.columns
            if columns is None and removing and not self._has_table(connection):
                create_receipts(connection, self.at.schema)
            elif columns is None or (not removing and columns.needs([row.values for row in rows])):
                return None
            if columns is not None and not removing:
                refuse_unfilled(columns)
            bound: dict[str, Row] = {row.unique: (row.unique,) for row in rows}
            failed: dict[str, str] = {}
            if columns is not None and not removing:
                bound, failed = bind(columns, [row.unique for row in rows], [row.values for row in rows])
            stamps = {row.unique: row.stamp for row in rows if row.unique in bound}
            if together:
                written, refused = _carry_out_part(connection, statement, there, receipts, bound, stamps)
                return Written(written, tuple(sorted(refused)), failed, refused)
            return self._in_parts(connection, statement, there, receipts, bound, stamps, failed)

    def _in_parts(
        self,
        connection: Connection,
        statement: Statement,
        there: TargetTable | None,
        receipts: Receipts,
        bound: Mapping[str, Row],
        stamps: Mapping[str, Stamp],
        failed: dict[str, str],
    ) -> Written:
        """Half after half, each under its own savepoint with its locks and receipts, until what is not taken stands alone.

        Args:
            failed: reasons of files that are no part of ``bound``; those of the rows are added.
        """
        from sqlalchemy import exc

        total = 0
        overtaken: dict[str, Receipt] = {}
        # In one order, as their receipts are locked, against deadlocks.
        parts = [part for part in _halves(sorted(bound)) if part]
        while parts:
            part = parts.pop()
            try:
                with connection.begin_nested():
                    own = {unique: bound[unique] for unique in part}
                    written, refused = _carry_out_part(
                        connection, statement, there, receipts, own, {unique: stamps[unique] for unique in part}
                    )
            except exc.DBAPIError as error:
                if concerns_all(error):
                    raise
                if len(part) > 1:
                    parts += _halves(part)
                    continue
                (unique,) = part
                if there is not None and isinstance(error, exc.IntegrityError):
                    refuse_shared_identity(connection, there.columns, there.table, bound[unique])
                failed[unique] = self._reason(error)
            else:
                total += written
                overtaken |= refused
        return Written(total, tuple(sorted(overtaken)), failed, overtaken)

    def _has_table(self, connection: Connection) -> bool:
        from sqlalchemy import inspect

        return self.at.is_there(inspect(connection))

    def _current(self, connection: Connection) -> TargetTable | None:
        """The table as this transaction sees it, and nobody changes its columns until it ends."""
        there = self._there
        if there is not None:
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql(f"LOCK TABLE {self.at.quoted(connection)} IN ROW EXCLUSIVE MODE")
            elif mysql.is_one(connection.dialect.name):
                # Nobody changes a table that a transaction has read.
                connection.exec_driver_sql(f"SELECT 1 FROM {self.at.quoted(connection)} LIMIT 0")
            if there.columns.version == read_version(connection, self.at):
                return there
        columns = read_columns(connection, self.at, self.wanted, self._fixed)
        self._there = None if columns is None else target_table(connection, columns)
        return self._there

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn what the database says into one clear error."""
        from sqlalchemy import exc

        try:
            yield
        except Unfit as error:
            raise TargetError(f"{self.url}, {error}") from error
        except exc.SQLAlchemyError as error:
            message = f"{self.name}: {self._reason(error)}"
            raise (TargetError if self._takes_nothing(error) else LoadError)(message) from error

    def _fails_whole(self, error: exc.DBAPIError) -> bool:
        """Whether a batch need not be tried in parts."""
        return self._takes_nothing(error) if lost(error) else concerns_all(error) and not is_too_much(error)

    def _takes_nothing(self, error: Exception) -> bool:
        """Whether the target is out of order for everybody."""
        from sqlalchemy import exc

        if not isinstance(error, exc.DBAPIError):
            return False
        if not lost(error):
            return takes_nothing(error)
        try:
            with self._engine.connect():
                return False
        except exc.DBAPIError:
            return True

    def _reason(self, error: Exception) -> str:
        return without_secrets_of(self._given, str(getattr(error, "orig", None) or error).strip())


def _halves(some: Sequence[T]) -> list[Sequence[T]]:
    """The second and the first half: a stack from which the first comes first."""
    middle = len(some) // 2
    return [some[middle:], some[:middle]]


def _carry_out_part(
    connection: Connection,
    statement: Statement,
    there: TargetTable | None,
    receipts: Receipts,
    bound: Mapping[str, Row],
    stamps: Mapping[str, Stamp],
) -> tuple[int, Mapping[str, Receipt]]:
    """Rows and their receipts, of the batch or of a part; gives how many are in, and by which receipts others are not.

    Args:
        there: None where there is no table, and so no row to remove.
    """
    verdict = receipts.judge(connection, stamps)
    present = verdict.present if statement is append else frozenset()
    wanted = {unique: bound[unique] for unique in stamps if unique not in verdict.refused and unique not in present}
    if there is not None:
        statement(connection, there, list(wanted.values()))
    done = {unique: stamps[unique] for unique in (*wanted, *present)}
    receipts.record(connection, done)
    return len(done), verdict.refused
