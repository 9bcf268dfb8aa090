"""The least that the work can cost: plain Python and sqlite3, nothing checked, nothing remembered.

Each function is as short as it can be, so that a reader believes the number it gives.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson


def walk(folder: str) -> int:
    """Look at every file's ``stat``, as a generate that finds nothing new must; returns how many there are."""
    count = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name != "_mmmeta":
                    count += walk(entry.path)
            elif entry.name.endswith(".json"):
                entry.stat()
                count += 1
    return count


def hash_documents(folder: str) -> int:
    """Read every document and compute its SHA-1; returns how many there are."""
    count = 0
    for path in Path(folder).rglob("*.pdf"):
        hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest()
        count += 1
    return count


def look_at_all(folder: str) -> int:
    """Look at every file's ``stat``, documents too; returns how many there are."""
    count = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name != "_mmmeta":
                    count += look_at_all(entry.path)
            else:
                entry.stat()
                count += 1
    return count


def flatten(prefix: str, record: dict[str, Any], values: dict[str, Any]) -> None:
    """Nested objects to one level."""
    for name, value in record.items():
        if isinstance(value, dict):
            flatten(f"{prefix}{name}:", value, values)
        else:
            values[prefix + name] = orjson.dumps(value).decode() if isinstance(value, list) else value


def read(path: str) -> dict[str, Any]:
    """One metadata file, parsed and flattened."""
    handle = os.open(path, os.O_RDONLY)
    values: dict[str, Any] = {}
    flatten("", orjson.loads(os.read(handle, 1 << 16)), values)
    os.close(handle)
    return values


def ingest(folder: Path, database: Path) -> None:
    """Walk, read, parse, flatten, insert, in one transaction."""
    rows: list[dict[str, Any]] = []
    for directory, names, files in os.walk(folder):
        if "_mmmeta" in names:
            names.remove("_mmmeta")
        rows += [read(os.path.join(directory, name)) for name in files if name.endswith(".json")]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    columns.remove("content_hash")
    connection = durable(database, "DELETE")
    names_sql = ", ".join(f'"{key}"' for key in columns)
    connection.execute("BEGIN")
    connection.execute(f"CREATE TABLE files (content_hash TEXT PRIMARY KEY, {names_sql})")
    connection.executemany(
        f"INSERT INTO files VALUES ({', '.join('?' * (len(columns) + 1))})",
        [[row["content_hash"], *(row.get(key) for key in columns)] for row in rows],
    )
    connection.execute("COMMIT")
    connection.close()


def ingest_some(paths: list[Path], database: Path) -> None:
    """The same for a few files of a table that is there."""
    connection = durable(database, "DELETE")
    connection.execute("BEGIN")
    for path in paths:
        row = read(str(path))
        names = ", ".join(f'"{key}"' for key in row)
        sql = f"INSERT OR REPLACE INTO files ({names}) VALUES ({', '.join('?' * len(row))})"
        connection.execute(sql, list(row.values()))
    connection.execute("COMMIT")
    connection.close()


def durable(database: Path, journal: str) -> sqlite3.Connection:
    """A connection whose commits are on disk when they return."""
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute(f"PRAGMA journal_mode={journal}")
    connection.execute("PRAGMA synchronous=FULL")
    return connection


def insert_one(connection: sqlite3.Connection, row: dict[str, Any]) -> None:
    """One row, one commit."""
    names = ", ".join(f'"{key}"' for key in row)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(f"INSERT INTO files ({names}) VALUES ({', '.join('?' * len(row))})", list(row.values()))
    connection.execute("COMMIT")


def columns_of(connection: sqlite3.Connection, schema: str) -> str:
    """The quoted names of all columns of ``files``."""
    return ", ".join(f'"{row[1]}"' for row in connection.execute(f"PRAGMA {schema}.table_info(files)"))


def copy(source: Path, target: Path) -> None:
    """A cold update at its least: ATTACH and INSERT … SELECT of all columns."""
    connection = durable(target, "WAL")
    connection.execute("ATTACH ? AS remote", (str(source),))
    columns = columns_of(connection, "remote")
    connection.execute("BEGIN")
    connection.execute(f"CREATE TABLE files ({columns}, PRIMARY KEY ({columns.split(', ')[0]}))")
    connection.execute(f"INSERT INTO files SELECT {columns} FROM remote.files")
    connection.execute("COMMIT")
    connection.close()


def merge(source: Path, target: Path, revision: int) -> None:
    """An update at its least: the rows above a revision, found by an index, replace those that are there."""
    connection = durable(target, "WAL")
    connection.execute("ATTACH ? AS remote", (str(source),))
    columns = columns_of(connection, "remote")
    connection.execute("BEGIN")
    connection.execute(
        f"INSERT OR REPLACE INTO files ({columns}) SELECT {columns} FROM remote.files WHERE __rev > ?", (revision,)
    )
    connection.execute("COMMIT")
    connection.close()


def dicts(database: Path) -> int:
    """Every row as a dict; returns how many there are."""
    connection = sqlite3.connect(database)
    cursor = connection.execute("SELECT * FROM files")
    names = [column[0] for column in cursor.description]
    count = sum(1 for row in cursor if dict(zip(names, row, strict=True)))
    connection.close()
    return count


Row = tuple[Any, ...]


def table(records: Iterable[dict[str, Any]]) -> tuple[list[str], list[Row]]:
    """Keys and rows, ready to be bound: the unique key first, lists as JSON text."""
    found = list(records)
    keys = list(dict.fromkeys(key for record in found for key, value in record.items() if value is not None))
    keys.remove("content_hash")
    keys.insert(0, "content_hash")
    rows = [
        tuple(orjson.dumps(cell).decode() if isinstance(cell, list) else cell for cell in map(record.get, keys))
        for record in found
    ]
    return keys, rows


def conflict(keys: list[str]) -> str:
    """What makes an upsert of an INSERT."""
    return f'ON CONFLICT ("{keys[0]}") DO UPDATE SET ' + ", ".join(f'"{key}" = excluded."{key}"' for key in keys[1:])


def upsert(database: Path, keys: list[str], rows: list[Row], batch: int) -> None:
    """``executemany`` of an upsert into a new table, a commit for each batch."""
    connection = durable(database, "DELETE")
    names = ", ".join(f'"{key}"' for key in keys)
    connection.execute(f'CREATE TABLE documents ({names}, PRIMARY KEY ("{keys[0]}"))')
    sql = f"INSERT INTO documents ({names}) VALUES ({', '.join('?' * len(keys))}) {conflict(keys)}"
    for start in range(0, len(rows), batch):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(sql, rows[start : start + batch])
        connection.execute("COMMIT")
    connection.close()


def empty(url: str) -> None:
    """Remove all tables of a PostgreSQL that is there for that."""
    with postgres(url) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")


def postgres(url: str) -> Any:
    """A connection by psycopg."""
    import psycopg

    return psycopg.connect(url.replace("postgresql+psycopg", "postgresql"))


def copy_and_upsert(url: str, keys: list[str], rows: list[Row], batch: int) -> None:
    """COPY into a temporary table and one INSERT … ON CONFLICT, a commit for each batch."""
    types = {bool: "boolean", int: "bigint", float: "double precision", str: "text"}
    kinds = [types[next(type(row[at]) for row in rows if row[at] is not None)] for at in range(len(keys))]
    columns = ", ".join(f'"{key}" {kind}' for key, kind in zip(keys, kinds, strict=True))
    names = ", ".join(f'"{key}"' for key in keys)
    with postgres(url) as connection:
        connection.execute(f'CREATE TABLE documents ({columns}, PRIMARY KEY ("{keys[0]}"))')
        connection.execute(f"CREATE TEMPORARY TABLE given ({columns}) ON COMMIT DELETE ROWS")
        connection.commit()
        for start in range(0, len(rows), batch):
            with connection.cursor().copy(f"COPY given ({names}) FROM STDIN") as copy:
                for row in rows[start : start + batch]:
                    copy.write_row(row)
            connection.execute(f"INSERT INTO documents ({names}) SELECT {names} FROM given {conflict(keys)}")
            connection.commit()
