"""Looks whether files are in a SQL target: for ``mmmeta check``, and for a job that counts what is there as done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmmeta.chunks import PER_STATEMENT, in_chunks
from mmmeta.target.columns import driver_value
from mmmeta.target.inspecting import describe
from mmmeta.target.receipts import NO_VERSION, TABLE, Receipt, Receipts
from mmmeta.target.registry import REGISTRY, read_registry
from mmmeta.target.target import SqlTarget

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True)
class Sought:
    """A file to look for.

    Attributes:
        version: as its receipt would name it.
        content: value of the content key.
    """

    unique: str
    version: str
    content: Any


def missing(target: SqlTarget, files: Sequence[Sought], *, content: str, state_id: str, job: str) -> dict[str, str]:
    """Which files are not in the target in this version: unique value → why, in a sentence.

    A receipt tells the version. Rows without one were put there by something else, or for another job: they count, unless
    the table has the content key's column and another value in it. Nothing is written or made.

    Args:
        content: key of the column that holds the content key.

    Raises:
        LoadError: the target cannot be read.
    """
    if target.is_missing:
        return dict.fromkeys((file.unique for file in files), f"{target.url} does not exist")
    reasons: dict[str, str] = {}
    with target.reading() as connection:
        if connection.dialect.name == "postgresql":  # which keeps no NUL, and cannot even be asked for one
            reasons = {file.unique: f"table {target.table!r} has no row of it" for file in files if "\0" in file.unique}
            files = [file for file in files if file.unique not in reasons]
        rows = _rows(connection, target, files, content)
        if rows is None:
            none = f"there is no table {target.table!r} with such files"
            return reasons | dict.fromkeys((file.unique for file in files), none)
        receipts = _receipts(connection, files, state_id, job, target.at.schema)
    for file in files:
        reason = _why(target.table, file, rows, receipts.get(file.unique), content)
        if reason is not None:
            reasons[file.unique] = reason
    return reasons


def _why(table: str, file: Sought, rows: dict[str, list[Any]], receipt: Receipt | None, content: str) -> str | None:
    found = rows.get(file.unique)
    if found is None:
        return f"table {table!r} has no row of it"
    # Versions are told apart by what `rerun_on` says, which may have changed since the receipt was written.
    if receipt is not None and receipt.version.split(" ")[0] == file.version.split(" ")[0]:
        return None if receipt.version == file.version else f"table {table!r} has another version of it"
    known = [value for value in found if value is not None]
    if file.content is not None and known and driver_value(file.content, "text", "") not in map(str, known):
        return f"its row in table {table!r} has another {content!r}"
    return None


def _rows(
    connection: Connection, target: SqlTarget, files: Sequence[Sought], content: str
) -> dict[str, list[Any]] | None:
    """File → values of the content's column in its rows (None where there is no such column); None without a table."""
    from sqlalchemy import Column, MetaData, String, Table, cast, inspect, null, select
    from sqlalchemy.sql import quoted_name

    inspector = inspect(connection)
    if not target.at.is_there(inspector):
        return None
    types = {str(column["name"]): column["type"] for column in describe(connection, target.at)}
    registry = read_registry(connection, target.at) if target.at.beside(REGISTRY).is_there(inspector) else {}

    def column(key: str) -> str | None:
        name = registry[key].name if key in registry else target.wanted.names.get(key, key)
        return name if name in types else None

    unique, wanted = column(target.wanted.unique), column(content)
    if unique is None:
        return None
    table = Table(
        quoted_name(target.at.name, True),
        MetaData(),
        *(Column(quoted_name(name, True), types[name], key=name) for name in dict.fromkeys((unique, wanted or unique))),
        schema=None if target.at.schema is None else quoted_name(target.at.schema, True),
    )
    own = table.c[unique]
    # Other databases than SQLite do not compare a number with a text.
    compared = own if connection.dialect.name == "sqlite" or isinstance(own.type, String) else cast(own, String)
    found: dict[str, list[Any]] = {}
    for chunk in in_chunks(files, PER_STATEMENT):
        names = [file.unique for file in chunk]
        query = select(own, table.c[wanted] if wanted is not None else null()).where(compared.in_(names))
        for name, value in connection.execute(query):
            found.setdefault(str(name), []).append(value)
    return found


def _receipts(
    connection: Connection, files: Sequence[Sought], state_id: str, job: str, schema: str | None
) -> dict[str, Receipt]:
    from sqlalchemy import inspect

    if not inspect(connection).has_table(TABLE, schema):
        return {}
    receipts = Receipts(connection.dialect.name, state_id, job, schema).read(
        connection, [file.unique for file in files]
    )
    return {file: receipt for file, receipt in receipts.items() if receipt.version != NO_VERSION}
