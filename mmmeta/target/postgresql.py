"""What PostgreSQL takes faster than row after row: a batch in one statement, each column as one array (UNNEST)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mmmeta.target.names import TableName

if TYPE_CHECKING:
    from sqlalchemy import Connection

NAME = "postgresql"
"""SQLAlchemy's name of it."""

KINDS = {
    "boolean": "boolean",
    "integer": "bigint",
    "float": "double precision",
    "number": "numeric",
    "text": "text",
    "null": "text",
    "bytes": "bytea",
}
"""Kind of a column → type of its array. Those of other columns follow from their values."""

_OF_VALUES = {bool: "boolean", int: "bigint", float: "double precision", str: "text", bytes: "bytea"}


def array(cells: Sequence[Any]) -> str:
    """An array of these as PostgreSQL reads it; drivers take several times as long to make one."""
    try:
        texts = "".join(cells)
    except TypeError:  # not all of them are texts
        texts = '"'
    if cells and '"' not in texts and "\\" not in texts:
        return '{"' + '","'.join(cells) + '"}'
    return "{" + ",".join(["NULL" if cell is None else _element(cell) for cell in cells]) + "}"


def _element(cell: Any) -> str:
    if type(cell) is str:
        return '"' + cell.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if type(cell) is bytes:
        return f'"\\\\x{cell.hex()}"'
    return str(cell)


def types_of_columns(connection: Connection, table: TableName) -> dict[str, str]:
    """Name of a column → its type without a length, of those whose type a cast from text gives as reading does.

    A cast to a domain cuts texts that are too long for it, and what is put together of others is left alone as well.
    """
    rows = connection.exec_driver_sql(
        "SELECT attname, format_type(atttypid, -1) FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid "
        "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND typtype IN ('b', 'e')",
        # As a parameter: what a driver takes for one of its own in a statement stays as it is.
        (".".join('"' + part.replace('"', '""') + '"' for part in table if part is not None),),
    )
    return {str(name): str(kind) for name, kind in rows}


def unnested(
    kinds: Sequence[str], rows: Sequence[tuple[Any, ...]], types: Sequence[str | None]
) -> tuple[str, list[str]] | None:
    """``SELECT … FROM unnest(…)`` that gives these rows, and its parameters; None where only row after row keeps their
    values apart, as it does of different types in a column that somebody else made.

    Args:
        kinds: of the columns.
        types: of the columns, as ``types_of_columns`` has them.
    """
    chosen, arrays = [], []
    for at, (kind, type_, cells) in enumerate(zip(kinds, types, zip(*rows, strict=True), strict=True)):
        known = KINDS.get(kind)
        cast = ""
        if known is None:
            found = set(map(type, cells)) - {type(None)}
            known = _OF_VALUES.get(next(iter(found), str))
            if type_ is None or known is None or len(found) > 1:
                return None
            if known == "text":
                cast = f"::{type_}".replace("%", "%%")
        chosen.append((f"a{at}{cast}", f"%s::{known}[]"))
        arrays.append(array(cells))
    names = ", ".join(f"a{at}" for at in range(len(chosen)))
    given = ", ".join(one for _, one in chosen)
    return f"SELECT {', '.join(one for one, _ in chosen)} FROM unnest({given}) AS given ({names})", arrays
