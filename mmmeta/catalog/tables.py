"""The tables that both databases have: ``info`` with what names a database, ``registry``, and ``files`` with its system columns."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmmeta.catalog.columns import KeyColumns
from mmmeta.errors import FormatError
from mmmeta.sqlite.damage import LARGEST_COUNT, Damage
from mmmeta.sqlite.statements import quote_identifier
from mmmeta.values import RESERVED_PREFIX

DIGEST_BYTES = 16

_ID = re.compile(r"[0-9a-f]{32}")

CREATE_INFO = "CREATE TABLE info (name TEXT PRIMARY KEY NOT NULL, value) WITHOUT ROWID"
CREATE_REGISTRY = """
CREATE TABLE registry (
    id INTEGER PRIMARY KEY,
    owner TEXT NOT NULL,
    key TEXT NOT NULL,
    column_name TEXT,
    usual TEXT,
    kinds TEXT NOT NULL DEFAULT '',
    UNIQUE (owner, key)
)"""
"""Of the metadata db, which has one owner's keys only."""

CREATE_STATE_REGISTRY = """
CREATE TABLE registry (
    owner TEXT NOT NULL,
    id INTEGER NOT NULL,
    key TEXT NOT NULL,
    column_name TEXT,
    usual TEXT,
    kinds TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (owner, id),
    UNIQUE (owner, key)
)"""
"""Of the state db: each owner has numbers of its own, all of them given out here."""

META_SYSTEM = (
    "__rev",
    "__fingerprint",
    "__source",
    "__source_mtime",
    "__meta_added",
    "__meta_last_updated",
    "__deleted",
    "__deleted_at",
    "__deleted_reason",
    "__types",
    "__more",
    "__derived",
)
"""System columns of ``files`` in meta.db, in order. ``__derived`` lists the keys whose values generate has derived from the
document, as JSON; NULL where there are none."""

STATE_SYSTEM = (
    *META_SYSTEM,
    "__local_types",
    "__local_more",
    "__state_added",
    "__state_last_updated",
    "__state_rev",
)
"""System columns of ``files`` in the state db, in order."""


def read_info(connection: sqlite3.Connection, schema: str = "main") -> dict[str, Any]:
    """The table ``info`` as a dict."""
    return dict(connection.execute(f"SELECT name, value FROM {quote_identifier(schema)}.info").fetchall())


def write_info(connection: sqlite3.Connection, **values: Any) -> None:
    """Set entries of the table ``info``."""
    connection.executemany(
        "INSERT INTO main.info (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        list(values.items()),
    )


def table_names(connection: sqlite3.Connection) -> set[str]:
    """Names of all tables of the main database."""
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def check_format(info: Mapping[str, Any], role: str, path: Path, version: int, verb: str) -> None:
    """Refuse what this version cannot read.

    Args:
        role: what the table ``info`` of such a database says that it is.
        version: of its format, as this version of mmmeta writes it.
        verb: the command that makes such a database anew.

    Raises:
        FormatError: it says something else, or is of another format.
    """
    if info.get("role") != role:
        raise FormatError(f"{path} is not a {role} db of mmmeta")
    found = info.get("format")
    if not isinstance(found, int) or found > version:
        raise FormatError(f"{path} has format {found!r}, this version reads up to {version}: upgrade mmmeta")
    if found < version:
        raise FormatError(
            f"{path} has format {found}, from before the first release, this version reads {version}: move it away and run "
            f"`{verb}`, which makes it anew"
        )


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < LARGEST_COUNT


def _is_digest(value: Any) -> bool:
    return type(value) is bytes and len(value) == DIGEST_BYTES


def _is_key(value: Any) -> bool:
    return type(value) is str and value != "" and not value.startswith(RESERVED_PREFIX)


def _is_id(value: Any) -> bool:
    return type(value) is str and _ID.fullmatch(value) is not None


def _is_id_or_empty(value: Any) -> bool:
    return bool(value == "" or _is_id(value))


def _is_text_or_none(value: Any) -> bool:
    return value is None or type(value) is str


_INFO: Mapping[str, Callable[[Any], bool]] = {
    "alive": _is_count,
    "digest": _is_digest,
    "id": _is_id,
    "metadata_id": _is_id_or_empty,
    "remote_last_updated": _is_text_or_none,
    "revision": _is_count,
    "state_revision": _is_count,
    "token_base": _is_count,
    "unique": _is_key,
}


def checked_info(info: Mapping[str, Any], names: tuple[str, ...], schema: str = "main") -> None:
    """Check these entries of a table ``info``.

    Raises:
        Damage: one is missing, or not what it can be.
    """
    for name in names:
        if name not in info:
            raise Damage(f"its table info has no entry {name!r}", schema)
        if not _INFO[name](info[name]):
            raise Damage(f"its table info has {info[name]!r:.60} as {name!r}", schema)


def create_files_table(connection: sqlite3.Connection, unique: str, system: Sequence[str]) -> None:
    """Make ``files`` with the unique key as text primary key and the system columns; the registry is there and empty."""
    columns = KeyColumns.create(connection, unique, system)
    names = ", ".join(quote_identifier(name) for name in system)
    connection.execute(f"CREATE TABLE files ({columns.unique_sql} TEXT PRIMARY KEY NOT NULL, {names})")
    columns.flush()
