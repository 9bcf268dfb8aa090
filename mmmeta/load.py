"""Writes metadata rows into any SQL database: an upsert by the unique key, exactly once, in one transaction a batch.

SQLAlchemy is only imported when a target is opened.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from mmmeta.errors import LoadError
from mmmeta.load_columns import Columns, column_name
from mmmeta.load_tables import prepare, read_columns, read_version
from mmmeta.receipts import Receipts, upserting

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

ROUNDS = 20
"""How often a batch is tried again because other workers change the table's columns meanwhile."""

LOCK_SECONDS = 30
"""How long a locked SQLite target is waited for."""


@dataclass(frozen=True)
class Row:
    """One file to write.

    Attributes:
        unique: the file's unique value.
        values: key → value, flattened.
        token: the fencing token under which the ledger gave the file out; larger with every claim and reset.
    """

    unique: str
    values: Mapping[str, Any]
    token: int


@dataclass(frozen=True)
class Written:
    """What a batch did.

    Attributes:
        written: files that are in the target now, with their receipts.
        refused: files that another worker wrote under the same or a larger token; nothing was changed.
        failed: file → why the target did not take it; the others of the batch are in.
    """

    written: int
    refused: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)


class SqlTarget:
    """A table that metadata rows are written into. Made where it is missing; its schema grows with the keys.

    The unique key's column holds text. Lists and objects are JSON text, integers over 64 bits text, absent keys NULL.
    Columns that somebody else added to the table are never written. Several threads and processes may write at once.

    Args:
        url: a SQLAlchemy URL.
        table: the table's name, taken literally.
        unique: the metadata key that identifies a file.

    Raises:
        LoadError: the URL cannot be read, or its driver is not installed.
    """

    def __init__(self, url: str, table: str, unique: str) -> None:
        if column_name(table, ()) != table or table.lower().startswith(("_mmmeta_", "sqlite_")):
            raise LoadError(f"{table!r} cannot be the name of a table: 1 to 63 bytes, not _mmmeta_… or sqlite_…")
        self.table = table
        self.unique = unique
        self._engine, self.url = _engine(url)
        self._columns: Columns | None = None
        self._fixed: dict[str, str] = {}

    def write(self, rows: Sequence[Row], *, state_id: str, job: str) -> Written:
        """Upsert a batch and write its receipts, in one transaction.

        A row whose token is not larger than its receipt's is refused. If the database does not take the batch, its rows
        are written one by one, so that a bad one loses nobody but itself.

        Args:
            rows: files, each at most once.
            state_id: id of the state db that the tokens come from.
            job: name of the job.

        Raises:
            LoadError: nothing was written: the database cannot be reached, is locked, full or read-only, or the table
                cannot be used. The message names URL (without password), table and reason.
        """
        if len({row.unique for row in rows}) != len(rows):
            raise ValueError("a file comes twice in one batch")
        receipts = Receipts(self._engine.dialect.name, state_id, job)
        for _ in range(ROUNDS):
            with self._errors():
                written = self._attempt(rows, receipts)
                if written is not None:
                    return written
                with self._engine.begin() as connection:
                    prepare(connection, self.table, self.unique, [row.values for row in rows], self._fixed)
                self._columns = None
        raise LoadError(
            f"{self.url}, table {self.table!r}: its columns were changed by others {ROUNDS} times; try again"
        )

    def receipts(self, files: Iterable[str], *, state_id: str, job: str) -> dict[str, int]:
        """File → token of its last committed import; a worker that takes over asks here what is done already."""
        from sqlalchemy import inspect

        from mmmeta.receipts import TABLE

        with self._errors(), self._engine.begin() as connection:
            if not inspect(connection).has_table(TABLE):
                return {}
            return Receipts(self._engine.dialect.name, state_id, job).read(connection, files)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def __enter__(self) -> SqlTarget:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _attempt(self, rows: Sequence[Row], receipts: Receipts) -> Written | None:
        """Write the batch; None where columns have to be made first."""
        from sqlalchemy import exc

        before = self._columns
        try:
            return self._write(rows, receipts, together=True)
        except exc.DBAPIError as error:
            if _is_missing(error) and before is not None and self._columns is before:
                # Somebody dropped the table or a column since an earlier batch.
                self._columns = None
                return None
            if _concerns_all(error):
                raise
            return self._write(rows, receipts, together=False)

    def _write(self, rows: Sequence[Row], receipts: Receipts, *, together: bool) -> Written | None:
        with self._engine.begin() as connection:
            columns = self._current(connection)
            if columns is None or columns.needs(row.values for row in rows):
                return None
            failed: dict[str, str] = {}
            bound: dict[str, dict[str, Any]] = {}
            for row in rows:
                try:
                    bound[row.unique] = columns.parameters(row.unique, row.values)
                except ValueError as error:
                    failed[row.unique] = str(error)
            tokens = {row.unique: row.token for row in rows if row.unique in bound}
            refused = receipts.refused(connection, tokens)
            wanted = [unique for unique in bound if unique not in refused]
            if together:
                _upsert(connection, columns, [bound[unique] for unique in wanted])
            else:
                failed |= self._one_by_one(connection, columns, {unique: bound[unique] for unique in wanted})
            receipts.record(connection, {file: tokens[file] for file in wanted if file not in failed})
            if not together:
                receipts.forget_locks(connection, failed.keys() & tokens.keys())
        return Written(len([file for file in wanted if file not in failed]), tuple(sorted(refused)), failed)

    def _one_by_one(
        self, connection: Connection, columns: Columns, bound: Mapping[str, dict[str, Any]]
    ) -> dict[str, str]:
        """Each row under its own savepoint; gives the reasons of those that were not taken."""
        from sqlalchemy import exc

        failed = {}
        for unique, values in bound.items():
            try:
                with connection.begin_nested():
                    _upsert(connection, columns, [values])
            except exc.DBAPIError as error:
                if _concerns_all(error):
                    raise
                failed[unique] = self._reason(error)
        return failed

    def _current(self, connection: Connection) -> Columns | None:
        """The columns as this transaction sees them, and nobody changes them until it ends."""
        columns = self._columns
        if columns is not None:
            if connection.dialect.name == "postgresql":
                quote = connection.dialect.identifier_preparer.quote_identifier
                connection.exec_driver_sql(f"LOCK TABLE {quote(self.table)} IN ROW EXCLUSIVE MODE")
            if columns.version == read_version(connection, self.table):
                return columns
        self._columns = read_columns(connection, self.table, self.unique, self._fixed)
        return self._columns

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn what the database says into one clear error."""
        from sqlalchemy import exc

        try:
            yield
        except exc.SQLAlchemyError as error:
            raise LoadError(f"{self.url}, table {self.table!r}: {self._reason(error)}") from error

    def _reason(self, error: Exception) -> str:
        text = str(getattr(error, "orig", None) or error).strip()
        password = self._engine.url.password
        return text.replace(password, "***") if password else text


def _upsert(connection: Connection, columns: Columns, bound: Sequence[Mapping[str, Any]]) -> None:
    """Insert the rows, or overwrite all of our columns where the unique value is there."""
    from sqlalchemy import bindparam, select

    if not bound:
        return
    table = columns.sqlalchemy_table
    if connection.dialect.name in ("sqlite", "postgresql"):
        insert = upserting(connection.dialect.name)(table)
        others = {column: insert.excluded[column.key] for column in table.c if column.key != "u"}
        statement = (
            insert.on_conflict_do_update(index_elements=[table.c.u], set_=others)
            if others
            else insert.on_conflict_do_nothing(index_elements=[table.c.u])
        )
        connection.execute(statement, list(bound))
        return
    uniques = [row["u"] for row in bound]
    there = {str(found) for (found,) in connection.execute(select(table.c.u).where(table.c.u.in_(uniques)))}
    if new := [row for row in bound if row["u"] not in there]:
        connection.execute(table.insert(), new)
    # A parameter must not have a column's name in an UPDATE.
    if old := [{**row, "the_unique": row["u"]} for row in bound if row["u"] in there]:
        connection.execute(table.update().where(table.c.u == bindparam("the_unique")), old)


def _engine(url: str) -> tuple[Engine, str]:
    """An engine and the URL as it may be shown. SQLite transactions take the write lock at once: a fence needs it."""
    from sqlalchemy import create_engine, event, exc
    from sqlalchemy.engine import make_url

    shown = re.sub(r"(://[^:/@]*:)[^@]*@", r"\1***@", url)
    try:
        parsed = make_url(re.sub(r"^postgres://", "postgresql://", url))
        shown = parsed.render_as_string(hide_password=True)
        sqlite = parsed.get_backend_name() == "sqlite"
        if sqlite and parsed.database and parsed.database != ":memory:" and not parsed.database.startswith("file:"):
            Path(os.path.expanduser(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
        arguments: dict[str, Any] = {"connect_args": {"timeout": LOCK_SECONDS}} if sqlite else {"pool_pre_ping": True}
        engine = create_engine(parsed, hide_parameters=True, **arguments)
    except (exc.ArgumentError, ImportError, OSError, ValueError) as error:
        raise LoadError(f"{shown}: cannot be opened: {error}") from error
    if sqlite:
        event.listen(engine, "connect", _manual_transactions)
        event.listen(engine, "begin", _begin_immediate)
    return engine, shown


def _manual_transactions(connection: Any, record: object) -> None:
    connection.isolation_level = None


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _state(error: Any) -> str:
    """The five characters of a PostgreSQL error, empty elsewhere."""
    return str(getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None) or "")


def _is_missing(error: Any) -> bool:
    """Whether a table or a column is not there."""
    return _state(error) in ("42P01", "42703") or bool(
        re.match(r"no such (table|column)|.*has no column", str(error.orig))
    )


def _concerns_all(error: Any) -> bool:
    """Whether the database, not a row, is the reason: it is gone, locked, full, read-only, or forbids it."""
    from sqlalchemy import exc

    if error.connection_invalidated or _is_missing(error):
        return True
    state = _state(error)
    if state:
        return state[:2] in ("08", "25", "28", "40", "53", "55", "57", "58") or state == "42501"
    return isinstance(error, exc.OperationalError)
